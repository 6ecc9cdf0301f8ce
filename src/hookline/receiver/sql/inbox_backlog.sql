-- Counts what waits in the inbox and among the runs, each count up to :most, by index alone; all sources together.
select
    (select count(*) from (select 1 from hookline_inbox_queue q limit :most) a) as waiting,
    (
        select i.received_ms
        from hookline_inbox_queue q
        join hookline_inbox i on i.seq = q.seq
        order by q.seq
        limit 1
    ) as oldest_ms,
    (
        select count(*) from (
            select 1
            from hookline_handlers h
            join hookline_runs r on r.handler = h.name and r.state = 'pending'
            limit :most
        ) b
    ) as pending_runs,
    (select count(*) from (select 1 from hookline_runs r where r.state = 'failed' limit :most) c) as dead_runs,
    (select count(*) from hookline_handlers h where h.paused_reason is not null) as paused_handlers,
    (select count(*) from hookline_cascades w where w.tries > 0) as failing_walks
