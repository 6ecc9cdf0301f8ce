-- Reads claimed deliveries with all that an attempt needs: the event's bytes, the endpoint's address and secret as now.
select d.row_id, d.id, d.environment, d.endpoint_row, d.attempt, d.slots_used, d.unknown_attempts, d.next_kind,
       d.planned_ms, d.first_ms, d.updated_ms, e.body, p.id, p.url, p.secret_enc, p.version, p.schedule,
       e.id, e.traceparent
from json_each(:row_ids) w
join hookline_sender_deliveries d on d.row_id = w.value
join hookline_sender_events e on e.row_id = d.event_row
join hookline_sender_endpoints p on p.row_id = d.endpoint_row
order by d.row_id
