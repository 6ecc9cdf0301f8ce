-- Lets these held deliveries wait again. One whose time is still ahead keeps it; the others are due now, on a schedule
-- that begins with their next attempt: a window that passed while they were held is no reason to fail.
update hookline_sender_deliveries
set state = 'pending',
    reason = null,
    first_ms = case when due_ms > :now_ms then first_ms end,
    slots_used = case when due_ms > :now_ms then slots_used else 0 end,
    unknown_attempts = case when due_ms > :now_ms then unknown_attempts else 0 end,
    next_kind = case when due_ms > :now_ms then next_kind else 'scheduled' end,
    planned_ms = case when due_ms > :now_ms then planned_ms end,
    due_ms = case when due_ms > :now_ms then due_ms else :now_ms end,
    updated_ms = :now_ms
where row_id in (select cast(value as bigint) from json_each(:row_ids)) and state = 'held'
