-- Makes held deliveries of an endpoint wait again: those made at or after since_ms.
update hookline_sender_deliveries
set state = 'pending', due_ms = coalesce(due_ms, :now_ms), reason = null, updated_ms = :now_ms
where endpoint_row = :endpoint_row and state = 'held' and created_ms >= :since_ms
