-- Adds refusals to their minute; the first sample of a minute stays. In order of the key, so that two doors do not wait
-- for each other.
insert into hookline_rejections (source, reason, minute_ms, times, sample)
select *
from unnest /*columns*/ (
    cast(:source as text[]), cast(:reason as text[]), cast(:minute_ms as bigint[]), cast(:times as bigint[]),
    cast(:sample as text[])
) as r (source, reason, minute_ms, times, sample)
order by r.source, r.reason, r.minute_ms
on conflict (source, reason, minute_ms) do update set
    times = hookline_rejections.times + excluded.times
