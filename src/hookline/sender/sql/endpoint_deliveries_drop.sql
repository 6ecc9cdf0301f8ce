-- Cancels what is still held for an endpoint.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = :reason, updated_ms = :now_ms
where endpoint_row = :endpoint_row and state = 'held'
