-- Marks a run as done, in the transaction of its handler's writes; nothing is marked once the attempt is not the one that runs.
update hookline_runs
set state = 'succeeded', leased_until_ms = null, error = null, finished_ms = :now_ms
where row_id = :row_id and attempt = :attempt and state = 'running'
