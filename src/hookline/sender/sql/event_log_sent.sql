-- The first deliveries of some events, those of the newest events first.
select d.event_row, d.id, p.id, p.url, d.origin, d.state, d.attempt, d.reason
from hookline_sender_deliveries d
join hookline_sender_endpoints p on p.row_id = d.endpoint_row
where d.event_row in (select cast(value as bigint) from json_each(:event_rows))
order by d.event_row desc, d.row_id
limit :limit
