-- Makes what waits behind a run of a pair due again.
update hookline_runs set due_ms = :now_ms
where row_id in (
    select l.row_id from hookline_runs r
    join hookline_runs l on l.handler = r.handler and l.object_key = r.object_key and l.change_seq > r.change_seq
    where r.row_id = :row_id and l.state in ('pending', 'running') and l.state = 'pending' and l.due_ms > :now_ms
)
