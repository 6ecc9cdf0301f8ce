-- Reads which of the endpoints named are not open now, and how: deleted, or holding (paused, or disabled by anyone).
select p.row_id, case when p.deleted_ms is not null then 'deleted' else 'holding' end
from json_each(:endpoint_rows) w
join hookline_sender_endpoints p on p.row_id = w.value
where p.deleted_ms is not null or p.paused_ms is not null or p.status <> 'enabled'
