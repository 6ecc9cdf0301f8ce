-- Ends a handler's pause.
update hookline_handlers set paused_reason = null, probe_ms = null, probes = 0
where name = :handler and paused_reason is not null
