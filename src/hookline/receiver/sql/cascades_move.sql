-- Notes how far a walk has come.
update hookline_cascades set position = :position where row_id = :row_id
