-- Reads a live organization, which then nobody else writes until the transaction ends.
select id, environment, name, external_id, metadata, created_ms, updated_ms, event_ms, sequence, deleted_ms
from hookline_sender_organizations
where environment = :environment and id = :id and deleted_ms is null
for update
