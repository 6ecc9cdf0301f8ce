-- Keeps how often each was tried in vain, and until when none is taken.
insert into hookline_dashboard_sign_ins (tried, failures, last_ms, until_ms)
values /*rows*/ (:tried, :failures, :last_ms, :until_ms)
on conflict (tried) do update
set failures = excluded.failures, last_ms = excluded.last_ms, until_ms = excluded.until_ms
