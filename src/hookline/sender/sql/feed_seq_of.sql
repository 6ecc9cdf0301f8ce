-- Finds an event's place in its environment's feed, and whether retention has taken it out.
select coalesce(f.seq, e.pruned_seq), case when e.pruned_ms is null then 0 else 1 end
from hookline_sender_events e
left join hookline_sender_feed f on f.event_row = e.row_id
where e.environment = :environment and e.id = :id and coalesce(f.seq, e.pruned_seq) is not null
