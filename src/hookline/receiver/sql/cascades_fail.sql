-- Notes that a walk failed where it stands, and lets it wait.
update hookline_cascades set tries = tries + 1, due_ms = :due_ms, error = :error, begun = 0 where row_id = :row_id
