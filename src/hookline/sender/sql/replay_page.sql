-- Reads events in the order of their rows, of every environment, so that a page is a page whatever lies in between.
select row_id, environment, type, origin, published_ms, pruned_ms
from hookline_sender_events
where row_id > :after and row_id <= :last
order by row_id
limit :limit
