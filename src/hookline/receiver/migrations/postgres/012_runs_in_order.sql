-- In the order in which runs are claimed.
drop index hookline_runs_due;
create index hookline_runs_next on hookline_runs (handler, due_ms, row_id) where state = 'pending';
