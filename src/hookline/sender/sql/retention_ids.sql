-- Reads events in the order of their rows, with when they were published and pruned.
select e.row_id, e.published_ms, e.pruned_ms
from hookline_sender_events e
where e.row_id > :after
order by e.row_id
limit :limit
