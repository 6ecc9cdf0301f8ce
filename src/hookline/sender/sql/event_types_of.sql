-- Reads every type of an environment that somebody described, by name.
select environment, name, description, schema, mode, sample, created_ms, updated_ms
from hookline_sender_event_types
where environment = :environment
order by name
