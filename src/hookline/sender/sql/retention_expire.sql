-- Cancels what is held of these events: its time is over.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = 'expired', updated_ms = :now_ms
where event_row in (select cast(value as bigint) from json_each(:event_rows)) and state = 'held'
