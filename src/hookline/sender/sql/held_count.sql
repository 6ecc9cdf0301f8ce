-- Counts what is held for an endpoint, and how much of it was made at or after a time.
select count(*), coalesce(cast(sum(case when created_ms >= :since_ms then 1 else 0 end) as bigint), 0)
from hookline_sender_deliveries
where endpoint_row = :endpoint_row and state = 'held'
