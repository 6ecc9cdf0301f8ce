-- Cancels these held deliveries.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = :reason, updated_ms = :now_ms
where row_id in (select cast(value as bigint) from json_each(:row_ids)) and state = 'held'
