-- Reads the earliest due time of each open endpoint named that has pending deliveries, and what stands before a claim:
-- its rate limit, and whether it is half open.
select p.row_id,
       (
           select min(q.due_ms)
           from hookline_sender_deliveries q
           where q.state = 'pending' and q.endpoint_row = p.row_id
       ) as due_ms,
       p.rate_limit_per_min,
       p.is_half_open,
       p.trial_until_ms
from json_each(:endpoint_rows) w
join hookline_sender_endpoints p
    on p.row_id = w.value and p.status = 'enabled' and p.paused_ms is null and p.deleted_ms is null
    and p.hold_through_row is null
where due_ms is not null
