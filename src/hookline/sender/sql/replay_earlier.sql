-- Reads the published and replayed deliveries of these pairs of event and endpoint; pairs is a JSON list of both rows.
select d.event_row, d.endpoint_row, d.row_id, d.state
from json_each(:pairs) w
join hookline_sender_deliveries d
    on d.event_row = json_extract(w.value, '$[0]')
    and d.endpoint_row = json_extract(w.value, '$[1]')
    and d.origin = 'published'
union all
select d.event_row, d.endpoint_row, d.row_id, d.state
from json_each(:pairs) w
join hookline_sender_deliveries d
    on d.event_row = json_extract(w.value, '$[0]')
    and d.endpoint_row = json_extract(w.value, '$[1]')
    and d.origin = 'replay'
