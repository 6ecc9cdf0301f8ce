-- Says that a worker is there, and which handlers it has.
insert into hookline_workers (name, handlers, started_ms, seen_ms)
values (:name, :handlers, :now_ms, :now_ms)
on conflict (name) do update set handlers = excluded.handlers, seen_ms = excluded.seen_ms, stopped_ms = null
