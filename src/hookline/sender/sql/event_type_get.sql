-- Reads one type of one's own.
select environment, name, description, schema, mode, sample, created_ms, updated_ms
from hookline_sender_event_types
where environment = :environment and name = :name
