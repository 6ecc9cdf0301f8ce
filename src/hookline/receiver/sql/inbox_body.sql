-- The bytes of one entry as they came; null once they are pruned.
select body from hookline_inbox where source = :source and event_id = :event_id
