-- Reads an environment's replays made after a row, nearest first.
select row_id, id, environment, filter, state, reason, total, made, skipped, position, last_event_row, rate_per_s,
       created_ms, updated_ms, finished_ms
from hookline_sender_replays
where environment = :environment and row_id > :cursor_row
order by row_id
limit :limit
