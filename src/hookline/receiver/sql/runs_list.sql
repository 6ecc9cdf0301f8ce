-- Runs, newest first: all, those of one state, or those of one entry and of the changes it caused.
select r.row_id, r.handler, r.state, r.attempt - r.uncounted, r.due_ms, r.finished_ms, r.error,
    coalesce(i.event_id, c.cause), c.resource, c.object_id, r.replay_id,
    coalesce(i.source, c.source)
from hookline_runs r
left join hookline_inbox i on i.seq = r.inbox_seq
left join hookline_changes c on c.seq = r.change_seq
where (cast(:source as text) is null or coalesce(i.source, c.source) = :source)
    and (cast(:state as text) is null or r.state = :state)
    and (cast(:entry_seq as integer) is null or r.inbox_seq = :entry_seq or c.cause_seq = :entry_seq)
order by r.row_id desc limit :limit
