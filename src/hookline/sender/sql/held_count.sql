-- Counts what is held for an endpoint or waits up to a row, and how much of it was made at or after a time. The
-- unary plus keeps to the index of what waits, which knows no rows.
select count(*), coalesce(cast(sum(case when b.created_ms >= :since_ms then 1 else 0 end) as bigint), 0)
from (
    select h.created_ms
    from hookline_sender_deliveries h
    where h.endpoint_row = :endpoint_row and h.state = 'held'
    union all
    select w.created_ms
    from hookline_sender_deliveries w
    where w.endpoint_row = :endpoint_row and w.state = 'pending' and +w.row_id <= :through_row
) b
