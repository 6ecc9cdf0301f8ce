-- Moves what waits for the endpoints named, and was written when the clock stood more than a minute ahead, by as much:
-- each waits from now as long as it was to wait then. :latest_ms is that minute.
update hookline_sender_deliveries
set due_ms = case
        when due_ms - updated_ms + :now_ms > :now_ms then due_ms - updated_ms + :now_ms
        else :now_ms
    end,
    planned_ms = planned_ms - updated_ms + :now_ms,
    first_ms = first_ms - updated_ms + :now_ms,
    updated_ms = :now_ms
where row_id in (
    select q.row_id
    from json_each(:endpoint_rows) w
    join hookline_sender_deliveries q
        on q.endpoint_row = cast(w.value as bigint) and q.state = 'pending' and q.due_ms > :now_ms and q.updated_ms > :latest_ms
)
