-- Leases due runs of the named handlers, oldest first, at most so many of each and none of a paused one, save one as its probe; of one (handler, object) only the first that is still open.
update hookline_runs
set state = 'running', attempt = attempt + 1, leased_until_ms = :leased_until_ms
where state = 'pending' and row_id in (
    select r.row_id
    from json_each(:handlers) h
    join hookline_handlers p on p.name = h.value and (p.paused_reason is null or p.probe_ms <= :now_ms)
    join hookline_runs r on r.row_id in (
        select q.row_id from hookline_runs q
        where q.handler = h.value and q.state = 'pending' and q.due_ms <= :now_ms
            and (q.object_key is null or not exists (
                select 1 from hookline_runs e
                where e.handler = q.handler and e.object_key = q.object_key and e.change_seq < q.change_seq
                    and e.state in ('pending', 'running')
            ))
        order by q.due_ms, q.row_id limit :each
    )
    where p.paused_reason is null or r.row_id = (
        select q.row_id from hookline_runs q
        where q.handler = h.value and q.state = 'pending' and q.due_ms <= :now_ms
            and (q.object_key is null or not exists (
                select 1 from hookline_runs e
                where e.handler = q.handler and e.object_key = q.object_key and e.change_seq < q.change_seq
                    and e.state in ('pending', 'running')
            ))
        order by q.due_ms, q.row_id limit 1
    )
    order by r.due_ms, r.row_id limit :limit
)
returning row_id, handler, object_key, inbox_seq, change_seq, attempt, attempt - uncounted, replay_id
