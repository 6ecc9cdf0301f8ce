-- Reads a stretch of an environment's feed after a place, oldest first, without the bodies.
select f.seq, e.row_id, e.type, length(e.body), e.created_ms
from hookline_sender_feed f
join hookline_sender_events e on e.row_id = f.event_row
where f.environment = :environment and f.seq > :after
order by f.seq
limit :limit
