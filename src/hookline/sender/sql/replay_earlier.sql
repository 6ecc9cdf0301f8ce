-- Reads the published and replayed deliveries of these pairs of event and endpoint; pairs is a JSON list of both rows.
select d.event_row, d.endpoint_row, d.row_id, d.state
from json_each(:pairs) w
join hookline_sender_deliveries d
    on d.event_row = cast(json_extract(w.value, '$[0]') as bigint)
    and d.endpoint_row = cast(json_extract(w.value, '$[1]') as bigint)
    and d.origin = 'published'
union all
select d.event_row, d.endpoint_row, d.row_id, d.state
from json_each(:pairs) w
join hookline_sender_deliveries d
    on d.event_row = cast(json_extract(w.value, '$[0]') as bigint)
    and d.endpoint_row = cast(json_extract(w.value, '$[1]') as bigint)
    and d.origin = 'replay'
