-- Holds what waits for an endpoint that was paused or disabled; due_ms stays, so that a retry keeps its time.
update hookline_sender_deliveries
set state = 'held', reason = :reason, updated_ms = :now_ms
where endpoint_row = :endpoint_row and state = 'pending'
