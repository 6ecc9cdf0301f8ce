-- The next entries in order, of any source, with what is kept of each and what still needs it: the queue, a handler that has yet to run, a failure for good.
select i.seq, i.source, i.event_id, i.received_ms, coalesce(length(i.body), 0), i.redacted,
    exists (select 1 from hookline_inbox_queue q where q.seq = i.seq) or exists (
        select 1 from hookline_handlers h cross join hookline_runs r
        where r.handler = h.name and r.inbox_seq = i.seq and r.state in ('pending', 'running')
    ),
    exists (select 1 from hookline_inbox_outcomes o where o.seq = i.seq and o.outcome = 'dead') or exists (
        select 1 from hookline_handlers h cross join hookline_runs r
        where r.handler = h.name and r.inbox_seq = i.seq and r.state = 'failed'
    )
from hookline_inbox i
where i.seq > :after order by i.seq limit :limit
