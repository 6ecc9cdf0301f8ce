-- Adds refusals to their minute; the first sample of a minute stays.
insert into hookline_rejections (source, reason, minute_ms, times, sample)
values /*rows*/ (:source, :reason, :minute_ms, :times, :sample)
on conflict (source, reason, minute_ms) do update set
    times = hookline_rejections.times + excluded.times
