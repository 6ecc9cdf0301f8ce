-- Moves running deliveries on, each only if it is still in the attempt named; gives the rows that were.
-- So a worker whose lease passed, and whose attempt was taken over, overwrites nothing.
update hookline_sender_deliveries d
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
from unnest /*columns*/ (
    cast(:row_id as bigint[]), cast(:attempt as bigint[]), cast(:attempts_made as bigint[]), cast(:state as text[]),
    cast(:due_ms as bigint[]), cast(:slots_used as bigint[]), cast(:unknown_attempts as bigint[]),
    cast(:next_kind as text[]), cast(:planned_ms as bigint[]), cast(:reason as text[])
) as s (
    row_id, attempt, attempts_made, state, due_ms, slots_used, unknown_attempts, next_kind, planned_ms, reason
)
where d.row_id = s.row_id and d.state = 'running' and d.attempt = s.attempt
returning d.row_id
