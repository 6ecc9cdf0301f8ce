-- Counts how often an id came again, per content: one row for each hash, however often it comes.
insert into hookline_inbox_repeats (source, event_id, sha256, kind, times, last_ms)
values /*rows*/ (:source, :event_id, :sha256, :kind, :times, :last_ms)
on conflict (source, event_id, sha256) do update set
    times = hookline_inbox_repeats.times + excluded.times,
    last_ms = excluded.last_ms
