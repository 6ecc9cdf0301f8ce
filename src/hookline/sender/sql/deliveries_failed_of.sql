-- The ids of the failed deliveries of some events, those of the newest first.
select d.id
from hookline_sender_deliveries d
where d.event_row in (select cast(value as bigint) from json_each(:event_rows)) and d.state = 'failed'
order by d.event_row desc, d.row_id
limit :limit
