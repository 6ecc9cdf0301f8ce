-- Reads a live organization.
select id, environment, name, external_id, metadata, created_ms, updated_ms, event_ms, sequence, deleted_ms
from hookline_sender_organizations
where environment = :environment and id = :id and deleted_ms is null
