-- Reads what is asked of events when they are published: types with a schema in force. A small table.
select environment, name, mode, schema
from hookline_sender_event_types
where mode <> 'off' and schema is not null
