-- Reads the feed of every environment after a place, oldest first; a body larger than most_bytes is left out.
select f.seq, e.row_id, e.id, e.environment, e.type, e.published_ms,
       case when length(e.body) <= :most_bytes then e.body end
from hookline_sender_feed f
join hookline_sender_events e on e.row_id = f.event_row
where f.seq > :seq
order by f.seq
limit :limit
