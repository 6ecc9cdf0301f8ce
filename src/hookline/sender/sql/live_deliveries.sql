-- Reads the deliveries of some events, each with its last attempt that ended; those of one event together.
select d.event_row, d.id, p.id, p.url, d.state, d.attempt, d.reason, d.due_ms, d.updated_ms, a.status,
       a.duration_ms
from hookline_sender_deliveries d
join hookline_sender_endpoints p on p.row_id = d.endpoint_row
left join hookline_sender_attempts a on a.delivery_row = d.row_id and a.number = (
    select max(l.number) from hookline_sender_attempts l where l.delivery_row = d.row_id
)
where d.event_row in (select cast(value as bigint) from json_each(:event_rows))
order by d.event_row, d.row_id
limit :limit
