-- Reads the earliest due time of each open endpoint named that has pending deliveries, and what stands before a claim:
-- its rate limit, and whether it is half open.
select p.row_id, q.due_ms, p.rate_limit_per_min, p.is_half_open, p.trial_until_ms
from json_array_elements_text(cast(:endpoint_rows as json)) w (value)
join hookline_sender_endpoints p
    on p.row_id = cast(w.value as bigint)
    and p.status = 'enabled' and p.paused_ms is null and p.deleted_ms is null
    and p.hold_through_row is null
cross join lateral (
    select min(due_ms) as due_ms
    from hookline_sender_deliveries
    where state = 'pending' and endpoint_row = p.row_id
) q
where q.due_ms is not null
