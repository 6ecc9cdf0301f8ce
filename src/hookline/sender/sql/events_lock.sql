-- Reads which of these events still have their bodies; they keep them until the transaction ends.
select e.row_id
from json_each(:event_rows) w
join hookline_sender_events e on e.row_id = cast(w.value as bigint)
where e.pruned_ms is null
