-- Adds failed attempts to endpoints. A time of failing begins with the first; one that begins in the future was written
-- before the clock was set back.
update hookline_sender_endpoints p
set failing_since_ms = case when p.failing_since_ms <= s.since_ms then p.failing_since_ms else s.since_ms end,
    failing_attempts = p.failing_attempts + s.failures
from unnest /*columns*/ (
    cast(:row_id as bigint[]), cast(:since_ms as bigint[]), cast(:failures as bigint[])
) as s (row_id, since_ms, failures)
where p.row_id = s.row_id
