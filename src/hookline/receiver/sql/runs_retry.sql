-- A person tries a dead letter, a skipped or a waiting run again now, with all its tries before it.
update hookline_runs
set state = 'pending', due_ms = :now_ms, uncounted = attempt, finished_ms = null
where row_id = :row_id and state in ('pending', 'failed', 'canceled')
