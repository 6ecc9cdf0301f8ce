-- Cancels a replay that is not over; gives no row where it is.
update hookline_sender_replays
set state = 'canceled', reason = :reason, updated_ms = :now_ms, finished_ms = :now_ms
where row_id = :row_id and state = 'pending'
returning row_id
