-- Claims at most :slots due deliveries of each endpoint named, oldest due first, for one holder until the lease passes.
-- Only endpoints that are enabled, not paused and not deleted; the state is a literal for the partial index
-- (measurements.md 10a).
update hookline_sender_deliveries
set state = 'running',
    attempt = attempt + 1,
    due_ms = null,
    leased_until_ms = :leased_until_ms,
    first_ms = coalesce(first_ms, :now_ms),
    updated_ms = :now_ms
where row_id in (
    select d.row_id
    from json_each(:endpoint_rows) w
    join hookline_sender_endpoints p
        on p.row_id = w.value and p.status = 'enabled' and p.paused_ms is null and p.deleted_ms is null
    join hookline_sender_deliveries d on d.row_id in (
        select q.row_id
        from hookline_sender_deliveries q
        where q.endpoint_row = p.row_id and q.state = 'pending' and q.due_ms <= :now_ms
        order by q.due_ms
        limit :slots
    )
)
returning row_id
