-- Reads the places after a place that retention has emptied, oldest first, and what type was there.
select e.pruned_seq, e.type
from hookline_sender_events e
where e.environment = :environment and e.pruned_seq > :after
order by e.pruned_seq
limit :limit
