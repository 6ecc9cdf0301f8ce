-- Notes that a handler failed on an object, once per object.
insert into hookline_failing (handler, object_key, failed_ms) values (:handler, :object_key, :now_ms)
on conflict (handler, object_key) do update set failed_ms = excluded.failed_ms
