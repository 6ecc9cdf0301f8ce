-- Makes one more attempt of a delivery due now, by hand, unless its state has changed since it was read.
-- It uses no slot of the schedule; a scheduled try that was waiting keeps its time in planned_ms.
update hookline_sender_deliveries
set state = 'pending',
    planned_ms = case
        when state in ('pending', 'held') and next_kind = 'scheduled' and attempt > 0 then due_ms
        else planned_ms
    end,
    due_ms = :now_ms,
    next_kind = 'manual',
    leased_until_ms = null,
    reason = 'retried_by_person',
    updated_ms = :now_ms
where row_id = :row_id and state = :from_state
returning row_id
