-- Reads one event of an environment without its body.
select row_id, environment, type, origin, published_ms, pruned_ms
from hookline_sender_events
where environment = :environment and id = :id
