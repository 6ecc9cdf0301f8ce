-- Reads those of the endpoints named that are not simply open and well: which are deleted or holding (paused, or
-- disabled by anyone), and how the failing and half-open ones do.
select p.row_id,
       case
           when p.deleted_ms is not null then 'deleted'
           when p.paused_ms is not null or p.status <> 'enabled' then 'holding'
           else 'open'
       end,
       p.failing_since_ms, p.failing_attempts, p.failing_warned, p.is_half_open
from json_each(:endpoint_rows) w
join hookline_sender_endpoints p on p.row_id = cast(w.value as bigint)
where p.deleted_ms is not null or p.paused_ms is not null or p.status <> 'enabled'
    or p.failing_since_ms is not null or p.is_half_open = 1
