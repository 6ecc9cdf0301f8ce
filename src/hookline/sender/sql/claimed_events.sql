-- Reads what is to be sent: each event once, for however many endpoints it was claimed. :with_bodies 0 spares the bytes.
select e.row_id, e.id, e.type, e.origin, e.traceparent, e.object_sequence,
    case when :with_bodies = 1 then e.body else cast('' as blob) end
from hookline_sender_events e
where e.row_id in (select cast(w.value as bigint) from json_each(:event_rows) w)
