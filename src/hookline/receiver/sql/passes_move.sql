-- Notes how far a running pass has come, in the transaction that did it; no row where it was ended meanwhile.
update hookline_passes set
    counts = :counts, updated_ms = :now_ms, due_ms = :due_ms, tries = 0, reason = null,
    started_us = coalesce(started_us, :started_us)
where row_id = :row_id and state = 'running'
