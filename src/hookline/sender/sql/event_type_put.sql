-- Writes a type of one's own over what was there; created_ms stays the first one's, updated_ms always grows.
insert into hookline_sender_event_types as t
    (environment, name, description, schema, mode, sample, created_ms, updated_ms)
values (:environment, :name, :description, :schema, :mode, :sample, :created_ms, :updated_ms)
on conflict (environment, name) do update set
    description = excluded.description,
    schema = excluded.schema,
    mode = excluded.mode,
    sample = excluded.sample,
    updated_ms = case when excluded.updated_ms > t.updated_ms then excluded.updated_ms else t.updated_ms + 1 end
returning created_ms, updated_ms
