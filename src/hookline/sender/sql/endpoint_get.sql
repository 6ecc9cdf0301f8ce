-- Reads one endpoint of an environment by its id, deleted or not.
select p.row_id, p.id, p.environment, p.url, p.status, p.disabled_reason, p.paused_ms, p.description,
       p.secret_enc, p.version, p.schedule, p.created_ms, p.updated_ms, p.deleted_ms
from hookline_sender_endpoints p
where p.environment = :environment and p.id = :id
