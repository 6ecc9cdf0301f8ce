-- Adds failed attempts to endpoints. A time of failing begins with the first; one that begins in the future was written
-- before the clock was set back.
with s (row_id, since_ms, failures)
as (
    values
        /*rows*/ (:row_id, :since_ms, :failures)
)
update hookline_sender_endpoints
set failing_since_ms = case when failing_since_ms <= s.since_ms then failing_since_ms else s.since_ms end,
    failing_attempts = failing_attempts + s.failures
from s
where hookline_sender_endpoints.row_id = s.row_id
