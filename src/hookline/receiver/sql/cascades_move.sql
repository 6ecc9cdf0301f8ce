-- Notes how far a walk has come; whatever kept it from that is over.
update hookline_cascades set position = :position, tries = 0, due_ms = 0, error = null, begun = 0 where row_id = :row_id
