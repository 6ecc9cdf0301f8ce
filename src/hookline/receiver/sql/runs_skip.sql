-- A person gives a run up: it holds nothing any more.
update hookline_runs
set state = 'canceled', finished_ms = :now_ms
where row_id = :row_id and state in ('pending', 'failed')
