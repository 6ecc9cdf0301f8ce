-- Reads the token bucket of each endpoint named, made full where there is none, and keeps others from it until the
-- commit: a write that changes nothing is a lock in every database.
insert into hookline_sender_buckets (endpoint_row, full_us)
select cast(w.value as bigint), 0
from json_each(:endpoint_rows) w
where true
on conflict (endpoint_row) do update set full_us = hookline_sender_buckets.full_us
returning endpoint_row, full_us
