-- Reads an endpoint that is closed: off, paused or deleted. It stays so until the transaction ends. No row where
-- somebody is changing it just now: who changes it may wait for the caller's job, so the caller must not wait for them.
select row_id
from hookline_sender_endpoints
where row_id = :row_id and (status <> 'enabled' or paused_ms is not null or deleted_ms is not null)
for share skip locked
