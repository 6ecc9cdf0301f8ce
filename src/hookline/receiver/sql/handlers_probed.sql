-- A probe succeeded: ends a pause that was for failing, never one that a person made.
update hookline_handlers set paused_reason = null, probe_ms = null, probes = 0
where name = :handler and paused_reason is not null and probe_ms is not null
