-- Ends one attempt without success: pending again, or a dead letter; only the attempt that runs can be ended.
update hookline_runs
set state = :next_state, due_ms = :due_ms, leased_until_ms = null, error = :error, finished_ms = :finished_ms
where row_id = :row_id and attempt = :attempt and state = 'running'
