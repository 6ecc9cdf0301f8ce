-- Pauses a handler that is not paused; with probe_ms null until somebody resumes it.
update hookline_handlers set paused_reason = :reason, probe_ms = :probe_ms, probes = 0
where name = :handler and paused_reason is null
