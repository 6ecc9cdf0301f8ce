-- Reads the version of an endpoint that held at a time: of those from before it, the last.
select endpoint_row, version, from_ms, url, status, disabled_reason, paused_ms, deleted_ms, events
from hookline_sender_endpoint_versions
where endpoint_row = :endpoint_row and from_ms <= :at_ms
order by version desc
limit 1
