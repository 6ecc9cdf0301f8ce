-- Reads one replay of an environment by its id.
select row_id, id, environment, filter, state, reason, total, made, skipped, position, last_event_row, rate_per_s,
       created_ms, updated_ms, finished_ms
from hookline_sender_replays
where environment = :environment and id = :id
