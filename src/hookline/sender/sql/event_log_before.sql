-- The row of the last event published before a time whose body is kept.
select row_id
from hookline_sender_events
where environment = :environment and published_ms < :at_ms and pruned_ms is null
order by published_ms desc, row_id desc
limit 1
