-- Reads a live directory.
select id, environment, organization_id, name, type, state, domain, external_key, inactive_flow, created_ms, updated_ms,
    event_ms, sequence, deleted_ms
from hookline_sender_directories
where environment = :environment and id = :id and deleted_ms is null
