-- Reads the bodies of these events.
select e.row_id, e.body
from json_each(:event_rows) w
join hookline_sender_events e on e.row_id = cast(w.value as bigint)
