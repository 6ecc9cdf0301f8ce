-- One holder at a time: takes the lease where it is free or its time is over, or so far ahead that it was taken by another
-- clock; then, and only then, its new token comes back.
insert into hookline_leases (source, name, token, holder, until_ms)
values (:source, :name, 1, :holder, :until_ms)
on conflict (source, name) do update
set token = hookline_leases.token + 1, holder = excluded.holder, until_ms = excluded.until_ms
where hookline_leases.until_ms <= :now_ms or hookline_leases.until_ms > :latest_ms
returning token
