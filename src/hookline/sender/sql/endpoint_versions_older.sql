-- Reads an endpoint's versions before one, nearest first.
select endpoint_row, version, from_ms, url, status, disabled_reason, paused_ms, deleted_ms, events
from hookline_sender_endpoint_versions
where endpoint_row = :endpoint_row and version < :cursor_row
order by version desc
limit :limit
