-- Reads one event of an environment by its id.
select row_id, id, environment, type, organization_id, body, created_ms, published_ms
from hookline_sender_events
where environment = :environment and id = :id
