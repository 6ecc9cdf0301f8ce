-- Moves running deliveries on, each only if it is still in the attempt named; gives the rows that were.
-- So a worker whose lease passed, and whose attempt was taken over, overwrites nothing.
with s (row_id, attempt, attempts_made, state, due_ms, slots_used, unknown_attempts, next_kind, planned_ms, reason)
as (
    values
        /*rows*/ (:row_id, :attempt, :attempts_made, :state, :due_ms, :slots_used, :unknown_attempts, :next_kind, :planned_ms, :reason)
)
update hookline_sender_deliveries
set state = s.state,
    attempt = s.attempts_made,
    due_ms = s.due_ms,
    leased_until_ms = null,
    slots_used = s.slots_used,
    unknown_attempts = s.unknown_attempts,
    next_kind = s.next_kind,
    planned_ms = s.planned_ms,
    reason = s.reason,
    updated_ms = :now_ms
from s
where hookline_sender_deliveries.row_id = s.row_id
    and hookline_sender_deliveries.state = 'running'
    and hookline_sender_deliveries.attempt = s.attempt
returning hookline_sender_deliveries.row_id
