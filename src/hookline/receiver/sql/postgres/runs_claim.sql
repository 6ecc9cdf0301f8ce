-- Leases due runs of the named handlers, oldest first, at most so many of each and none of a paused one, save one as its probe; of one (handler, object) only the first that is still open.
-- What another worker is leasing just now is passed over; who takes a probe holds the handler's row until the commit.
update hookline_runs
set state = 'running', attempt = attempt + 1, leased_until_ms = :leased_until_ms
where state = 'pending' and row_id = any (array(
    select r.row_id
    from (
        select h.name, cast(:each as bigint) as most
        from hookline_handlers h
        where h.paused_reason is null
            and h.name = any (array(select value from json_array_elements_text(cast(:handlers as json)) w (value)))
        union all
        select p.name, 1
        from (
            select h.name
            from hookline_handlers h
            where h.paused_reason is not null and h.probe_ms <= :now_ms
                and h.name = any (array(select value from json_array_elements_text(cast(:handlers as json)) w (value)))
            order by h.name
            for no key update skip locked
        ) p
    ) o
    cross join lateral (
        select q.row_id, q.due_ms
        from hookline_runs q
        where q.handler = o.name and q.state = 'pending' and q.due_ms <= :now_ms
            and (q.object_key is null or not exists (
                select 1 from hookline_runs e
                where e.handler = q.handler and e.object_key = q.object_key and e.change_seq < q.change_seq
                    and e.state in ('pending', 'running')
            ))
        order by q.due_ms, q.row_id
        limit o.most
        for update skip locked
    ) r
    order by r.due_ms, r.row_id
    limit :limit
))
returning row_id, handler, object_key, inbox_seq, change_seq, attempt, attempt - uncounted, replay_id
