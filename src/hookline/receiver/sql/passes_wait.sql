-- Lets a running pass wait, and says what for.
update hookline_passes set reason = :reason, due_ms = :due_ms, updated_ms = :now_ms, tries = tries + 1, counts = :counts
where row_id = :row_id and state = 'running'
