-- Reads an environment's events that were published before a time and still have their bodies, oldest first, with how
-- many deliveries each has.
select e.row_id, e.published_ms, (select count(*) from hookline_sender_deliveries d where d.event_row = e.row_id)
from hookline_sender_events e
where e.environment = :environment and e.pruned_ms is null and e.published_ms < :cutoff_ms
    and (e.published_ms, e.row_id) > (:after_ms, :after_row)
order by e.published_ms, e.row_id
limit :limit
