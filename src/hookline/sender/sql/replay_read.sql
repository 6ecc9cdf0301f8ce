-- Reads one replay by its id, for whoever works on it.
select row_id, id, environment, filter, state, reason, total, made, skipped, position, last_event_row, rate_per_s,
       created_ms, updated_ms, finished_ms
from hookline_sender_replays
where id = :id
