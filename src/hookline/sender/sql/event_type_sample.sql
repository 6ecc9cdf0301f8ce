-- Reads the sample of an event type of one's own.
select sample from hookline_sender_event_types where environment = :environment and name = :name
