-- Counts how often an id came again, per content: one row for each hash, however often it comes. In order of the key, so
-- that two doors do not wait for each other.
insert into hookline_inbox_repeats (source, event_id, sha256, kind, times, last_ms)
select *
from unnest /*columns*/ (
    cast(:source as text[]), cast(:event_id as text[]), cast(:sha256 as bytea[]), cast(:kind as text[]),
    cast(:times as bigint[]), cast(:last_ms as bigint[])
) as r (source, event_id, sha256, kind, times, last_ms)
order by r.source, r.event_id, r.sha256
on conflict (source, event_id, sha256) do update set
    times = hookline_inbox_repeats.times + excluded.times,
    last_ms = excluded.last_ms
