-- Closing an endpoint with a large backlog in parts, and an end for finished replays.

-- The newest delivery that existed when the endpoint was opened again while what waited for it was still being held;
-- up to there the rest is held first, and nothing is claimed meanwhile. Null but for that time.
alter table hookline_sender_endpoints add column hold_through_row integer;

create index hookline_sender_replays_finished on hookline_sender_replays (finished_ms) where finished_ms is not null;
