-- Reads how often these were tried in vain, a new row for each that was not; no other reads them so until the commit.
insert into hookline_dashboard_sign_ins (tried, failures, last_ms, until_ms)
values /*rows*/ (:tried, 0, 0, 0)
on conflict (tried) do update set failures = hookline_dashboard_sign_ins.failures
returning tried, failures, last_ms, until_ms
