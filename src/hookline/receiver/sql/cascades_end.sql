-- A walk is finished.
delete from hookline_cascades where row_id = :row_id
