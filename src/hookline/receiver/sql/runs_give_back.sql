-- Undoes a claim that came to nothing through no fault of the handler: the attempt is no try.
update hookline_runs
set state = 'pending', due_ms = :due_ms, uncounted = uncounted + 1, leased_until_ms = null
where row_id = :row_id and attempt = :attempt and state = 'running'
