-- Gives every waiting event its place in the feed, oldest row first, under the feed's lock (feed_lock_missing);
-- feed_missing_clear follows in the same transaction.
insert into hookline_sender_feed (environment, event_row)
select e.environment, e.row_id
from hookline_sender_unfed u
join hookline_sender_events e on e.row_id = u.event_row
order by u.event_row
on conflict (event_row) do nothing
