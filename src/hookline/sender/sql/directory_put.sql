-- Writes a directory whole, over what was there.
insert into hookline_sender_directories
    (id, environment, organization_id, name, type, state, domain, external_key, inactive_flow, created_ms, updated_ms,
    event_ms, sequence, deleted_ms)
values
    (:id, :environment, :organization_id, :name, :type, :state, :domain, :external_key, :inactive_flow, :created_ms,
        :updated_ms, :event_ms, :sequence, :deleted_ms)
on conflict (id) do update set
    name = excluded.name,
    type = excluded.type,
    state = excluded.state,
    domain = excluded.domain,
    external_key = excluded.external_key,
    inactive_flow = excluded.inactive_flow,
    updated_ms = excluded.updated_ms,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence,
    deleted_ms = excluded.deleted_ms
