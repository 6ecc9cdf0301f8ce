-- Reads a live organization by its external id.
select o.id, o.environment, o.name, o.external_id, o.metadata, o.created_ms, o.updated_ms, o.event_ms, o.sequence,
    o.deleted_ms
from hookline_sender_organizations o
where o.environment = :environment and o.external_id = :external_id and o.deleted_ms is null
