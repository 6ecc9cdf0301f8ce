-- Reads the version of an endpoint that is on, not paused and not deleted, and whether it is half open.
select version, is_half_open
from hookline_sender_endpoints
where row_id = :row_id and status = 'enabled' and paused_ms is null and deleted_ms is null
