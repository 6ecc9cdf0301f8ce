-- One more failure in a row; one that is long ago is forgotten first. The number of failures comes back.
insert into hookline_dashboard_failures (subject, failures, last_ms, wait_until_ms)
values (:subject, 1, :now_ms, 0)
on conflict (subject) do update set
    failures = case when hookline_dashboard_failures.last_ms < :forgotten_ms then 1
        else hookline_dashboard_failures.failures + 1 end,
    last_ms = :now_ms
returning failures
