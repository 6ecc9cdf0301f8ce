-- Arms a run that ended again, with all its tries before it, once per replay.
update hookline_runs
set state = 'pending', due_ms = :now_ms, uncounted = attempt, error = null, finished_ms = null, replay_id = :replay_id
where handler = :handler and (inbox_seq = :inbox_seq or change_seq = :change_seq)
    and state in ('succeeded', 'failed', 'canceled') and coalesce(replay_id, 0) <> :replay_id
