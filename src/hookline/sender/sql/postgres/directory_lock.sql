-- Reads a live directory; nobody else writes it or what is in it until the transaction ends.
select id, environment, organization_id, name, type, state, domain, external_key, inactive_flow, created_ms, updated_ms,
    event_ms, sequence, deleted_ms
from hookline_sender_directories
where environment = :environment and id = :id and deleted_ms is null
for update
