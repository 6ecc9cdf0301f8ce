-- Stores what a person decided about a delivery, unless it has moved since it was read: a worker is not overtaken.
update hookline_sender_deliveries
set state = :state,
    due_ms = :due_ms,
    reason = :reason,
    slots_used = :slots_used,
    unknown_attempts = :unknown_attempts,
    next_kind = :next_kind,
    planned_ms = :planned_ms,
    leased_until_ms = null,
    updated_ms = :now_ms
where row_id = :row_id and state = :from_state and attempt = :from_attempt
returning row_id
