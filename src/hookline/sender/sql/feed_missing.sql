-- Gives every waiting event its place in the feed, oldest row first; feed_missing_clear follows in the same
-- transaction. Ordered by the waiting row, or the planner walks every event there is.
insert into hookline_sender_feed (environment, event_row)
select e.environment, e.row_id
from hookline_sender_unfed u
join hookline_sender_events e on e.row_id = u.event_row
where true
order by u.event_row
on conflict (event_row) do nothing
