-- Ends a running pass: completed, or stopped with a reason.
update hookline_passes set state = :state, reason = :reason, updated_ms = :now_ms, finished_ms = :now_ms, counts = :counts
where row_id = :row_id and state = 'running'
