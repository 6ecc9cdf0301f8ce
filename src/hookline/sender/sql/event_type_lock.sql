-- What was said of a type, kept as it is until the transaction ends: whoever changes a part of it waits for the others.
update hookline_sender_event_types set updated_ms = updated_ms
where environment = :environment and name = :name
returning environment, name, description, schema, mode, sample, created_ms, updated_ms
