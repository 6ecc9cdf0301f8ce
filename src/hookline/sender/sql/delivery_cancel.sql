-- Cancels a delivery that waits; one that is running or done is left alone and gives no row.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = :reason, updated_ms = :now_ms
where row_id = :row_id and state in ('pending', 'held')
returning row_id
