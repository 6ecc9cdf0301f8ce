-- Says that a worker has ended in an orderly way.
update hookline_workers set seen_ms = :now_ms, stopped_ms = :now_ms where name = :name
