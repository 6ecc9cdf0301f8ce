-- Reads what a first attempt of these events is made of; of those past their retention nothing.
select e.row_id, e.id, e.type, e.body, e.created_ms, e.traceparent, e.object_sequence
from hookline_sender_events e
where e.row_id in (select cast(value as bigint) from json_each(:event_rows)) and e.pruned_ms is null
