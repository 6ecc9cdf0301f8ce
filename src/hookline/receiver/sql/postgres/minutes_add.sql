-- Adds to the counts of minutes; in order of the key, so that two doors do not wait for each other.
insert into hookline_inbox_minutes (minute_ms, source, kind, times)
select *
from unnest /*columns*/ (
    cast(:minute_ms as bigint[]), cast(:source as text[]), cast(:kind as text[]), cast(:times as bigint[])
) as r (minute_ms, source, kind, times)
order by r.minute_ms, r.source, r.kind
on conflict (minute_ms, source, kind) do update set times = hookline_inbox_minutes.times + excluded.times
