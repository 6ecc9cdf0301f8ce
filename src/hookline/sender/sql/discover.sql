-- Finds every open endpoint with pending deliveries and its earliest due time, by stepping from endpoint to endpoint
-- in the index, so that its cost grows with endpoints, not with deliveries; 1 says that it has been failing. The order
-- by due time is for that index alone: min() may take another one and read what endpoints have finished. A closed
-- one is named where no job is closing its backlog: deliveries were made beside its closing. More rows tell when the
-- first lease passes, when the first overlap of two secrets ends, whether events published on an app's connection wait
-- for their place in the feed, and when a job is due.
with recursive e (endpoint_row) as (
    select cast(0 as bigint)
    union all
    select (
        select q.endpoint_row
        from hookline_sender_deliveries q
        where q.state = 'pending' and q.endpoint_row > e.endpoint_row
        order by q.endpoint_row, q.due_ms
        limit 1
    )
    from e
    where e.endpoint_row is not null
)
select case
           when p.status <> 'enabled' or p.paused_ms is not null or p.deleted_ms is not null then 'closed'
           else 'endpoint'
       end,
       e.endpoint_row,
       (
           select min(q.due_ms)
           from hookline_sender_deliveries q
           where q.state = 'pending' and q.endpoint_row = e.endpoint_row
       ),
       case when p.failing_since_ms is null then 0 else 1 end
from e
join hookline_sender_endpoints p on p.row_id = e.endpoint_row
where case
    when p.status <> 'enabled' or p.paused_ms is not null or p.deleted_ms is not null then not exists (
        select 1 from hookline_sender_jobs c where c.kind = 'close' and c.subject = cast(e.endpoint_row as text)
    )
    else p.hold_through_row is null
end
union all
select 'lease', null, min(r.leased_until_ms), 0 from hookline_sender_deliveries r where r.state = 'running'
union all
select 'overlap', null, min(o.old_secret_until_ms), 0
from hookline_sender_endpoints o
where o.old_secret_enc is not null
union all
select 'unfed', null, min(u.event_row), 0 from hookline_sender_unfed u
union all
select 'job', null, min(j.due_ms), 0 from hookline_sender_jobs j
