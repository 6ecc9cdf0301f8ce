-- Finds an event's place in its environment's feed.
select f.seq
from hookline_sender_events e
join hookline_sender_feed f on f.event_row = e.row_id
where e.environment = :environment and e.id = :id
