-- Reads the version of an endpoint that is on, not paused and not deleted, whether it is half open, and up to which
-- delivery its backlog is still to be held.
select version, is_half_open, hold_through_row
from hookline_sender_endpoints
where row_id = :row_id and status = 'enabled' and paused_ms is null and deleted_ms is null
