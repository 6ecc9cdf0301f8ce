-- What is kept of one entry's bytes; null once they are gone.
select body from hookline_inbox where source = :source and event_id = :event_id
