-- Finds which of these events still have a delivery that waits or is under way.
select d.event_row
from json_each(:event_rows) w
join hookline_sender_deliveries d on d.event_row = cast(w.value as bigint)
where d.state in ('pending', 'running')
