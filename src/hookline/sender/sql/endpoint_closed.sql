-- Reads an endpoint that is closed: off, paused or deleted.
select row_id
from hookline_sender_endpoints
where row_id = :row_id and (status <> 'enabled' or paused_ms is not null or deleted_ms is not null)
