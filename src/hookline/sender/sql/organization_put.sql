-- Writes an organization whole, over what was there. An external id that another live one has fails the statement.
insert into hookline_sender_organizations
    (id, environment, name, external_id, metadata, created_ms, updated_ms, event_ms, sequence, deleted_ms)
values
    (:id, :environment, :name, :external_id, :metadata, :created_ms, :updated_ms, :event_ms, :sequence, :deleted_ms)
on conflict (id) do update set
    name = excluded.name,
    external_id = excluded.external_id,
    metadata = excluded.metadata,
    updated_ms = excluded.updated_ms,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence,
    deleted_ms = excluded.deleted_ms
