-- The one question of an idle worker: when is an entry, a walk, a run of its handlers (now, or else next) or a lease due, and is there a replay, and when does retention go on?
select
    (select min(due_ms) from hookline_inbox_queue),
    (select created_ms from hookline_cascades where due_ms <= :now_ms or due_ms > :latest_ms order by row_id limit 1),
    (select min((
        select min(q.due_ms) from hookline_runs q where q.handler = h.value and q.state = 'pending'
    )) from json_each(:handlers) h
        join hookline_handlers p on p.name = h.value and (p.paused_reason is null or p.probe_ms <= :now_ms)),
    (select min((
        select min(q.due_ms) from hookline_runs q
        where q.handler = h.value and q.state = 'pending' and q.due_ms > :now_ms
    )) from json_each(:handlers) h
        join hookline_handlers p on p.name = h.value and p.paused_reason is null),
    (select min(leased_until_ms) from hookline_runs where state = 'running'),
    (select row_id from hookline_replays where finished_ms is null order by row_id limit 1),
    (select min(due_ms) from hookline_retention where source in (select value from json_each(:sources)))
