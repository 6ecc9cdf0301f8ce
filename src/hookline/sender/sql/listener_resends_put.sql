-- Has an event go to these listeners once more.
insert into hookline_sender_listener_resends (listener_row, event_row, created_ms)
select l.row_id, :event_row, :now_ms
from hookline_sender_listeners l
where l.row_id in (select cast(value as bigint) from json_each(:listener_rows))
