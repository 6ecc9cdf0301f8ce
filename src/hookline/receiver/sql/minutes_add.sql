-- Adds to the counts of minutes.
insert into hookline_inbox_minutes (minute_ms, source, kind, times)
values /*rows*/ (:minute_ms, :source, :kind, :times)
on conflict (minute_ms, source, kind) do update set times = hookline_inbox_minutes.times + excluded.times
