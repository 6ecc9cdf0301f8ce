-- Reads the newest events of the feed of every environment, newest first; otherwise as live_after.
select f.seq, e.row_id, e.id, e.environment, e.type, e.published_ms,
       case when length(e.body) <= :most_bytes then e.body end
from hookline_sender_feed f
join hookline_sender_events e on e.row_id = f.event_row
where f.seq > 0
order by f.seq desc
limit :limit
