-- Notes how many workers have taken a walk up where it stands: one that does not come back leaves its mark.
update hookline_cascades set begun = :begun where row_id = :row_id
