-- Gives events their place in the feed, in the order given; the last write before the commit. The lock is taken before
-- the first number is drawn and held until the commit is seen, so that places are seen in their order (DESIGN 4, The feed).
with feed_lock as materialized (select pg_advisory_xact_lock(5021706183927116801) as held)
insert into hookline_sender_feed (environment, event_row)
select r.environment, r.event_row
from feed_lock
cross join unnest /*columns*/ (cast(:environment as text[]), cast(:event_row as bigint[]))
    with ordinality as r (environment, event_row, place)
order by r.place
