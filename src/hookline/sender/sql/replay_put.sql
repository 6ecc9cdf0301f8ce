-- Adds a replay.
insert into hookline_sender_replays
    (id, environment, filter, state, total, skipped, position, last_event_row, rate_per_s, created_ms, updated_ms)
values
    (:id, :environment, :filter, 'pending', :total, '{}', :position, :last_event_row, :rate_per_s, :now_ms, :now_ms)
