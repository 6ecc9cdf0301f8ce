-- Cancels what waits for a deleted endpoint.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = :reason, updated_ms = :now_ms
where endpoint_row = :endpoint_row and (state = 'pending' or state = 'held')
