-- Finds the first and the last row of an environment's kept events that were published in a range of times.
select min(row_id), max(row_id)
from hookline_sender_events
where environment = :environment and pruned_ms is null and published_ms >= :since_ms and published_ms < :until_ms
