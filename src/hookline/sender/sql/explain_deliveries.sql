-- Reads an event's deliveries to the endpoints named, in the order in which they were made.
select d.row_id, d.id, d.environment, d.event_row, d.endpoint_row, d.origin, d.state, d.due_ms,
       d.leased_until_ms, d.attempt, d.slots_used, d.unknown_attempts, d.next_kind, d.planned_ms, d.first_ms,
       d.reason, d.created_ms, d.updated_ms, e.id, e.type, p.id, p.url
from hookline_sender_deliveries d
join hookline_sender_events e on e.row_id = d.event_row
join hookline_sender_endpoints p on p.row_id = d.endpoint_row
where d.event_row = :event_row and d.endpoint_row in (select cast(value as bigint) from json_each(:endpoint_rows))
order by d.row_id
