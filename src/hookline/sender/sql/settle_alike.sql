-- Moves running deliveries on to what all of them are now, each only if it is still in the attempt named; gives the rows
-- that were. As `settle`, with one set of values for the many that succeeded at their first attempt.
update hookline_sender_deliveries
set state = :state,
    attempt = :attempts_made,
    due_ms = :due_ms,
    leased_until_ms = null,
    slots_used = :slots_used,
    unknown_attempts = :unknown_attempts,
    next_kind = :next_kind,
    planned_ms = :planned_ms,
    reason = :reason,
    updated_ms = :now_ms
where row_id in (select cast(w.value as bigint) from json_each(:row_ids) w)
    and state = 'running'
    and attempt = :attempt
returning row_id
