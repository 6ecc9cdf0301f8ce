-- Runs, newest first, with what each is about.
select r.row_id, r.handler, r.state, r.attempt - r.uncounted, r.due_ms, r.finished_ms, r.error,
    coalesce(i.event_id, c.cause), c.resource, c.object_id, r.replay_id,
    coalesce(i.source, c.source)
from hookline_runs r
left join hookline_inbox i on i.seq = r.inbox_seq
left join hookline_changes c on c.seq = r.change_seq
where r.row_id < :before_row and {filters}
order by r.row_id desc limit :limit
