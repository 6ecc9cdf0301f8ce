-- Claims at most :slots due deliveries of each endpoint named, oldest due first, for one holder until the lease passes.
-- Only endpoints that are enabled, not paused, not deleted and whose backlog is held as far as it is to be; the state is
-- a literal for the partial index (measurements.md 10a). :gated 0 takes those that anybody may claim from; 1 those with
-- a rate limit or half open, after the caller took their bucket or their trial in this transaction. The lease lasts as
-- long as the endpoint's attempt may take, twice that where a probe with its other secret may follow, and a margin.
update hookline_sender_deliveries
set state = 'running',
    attempt = attempt + 1,
    due_ms = null,
    leased_until_ms = :now_ms + :margin_ms + (
        select coalesce(t.timeout_ms, :timeout_ms) * case when t.old_secret_until_ms > :now_ms then 2 else 1 end
        from hookline_sender_endpoints t
        where t.row_id = hookline_sender_deliveries.endpoint_row
    ),
    first_ms = coalesce(first_ms, :now_ms),
    updated_ms = :now_ms
where row_id in (
    select d.row_id
    from json_each(:endpoint_rows) w
    join hookline_sender_endpoints p
        on p.row_id = w.value and p.status = 'enabled' and p.paused_ms is null and p.deleted_ms is null
        and p.hold_through_row is null
        and case when p.rate_limit_per_min is null and p.is_half_open = 0 then 0 else 1 end = :gated
    join hookline_sender_deliveries d on d.row_id in (
        select q.row_id
        from hookline_sender_deliveries q
        where q.endpoint_row = p.row_id and q.state = 'pending' and q.due_ms <= :now_ms
        order by q.due_ms
        limit :slots
    )
)
returning row_id, id, event_row, endpoint_row, origin, attempt, slots_used, unknown_attempts, next_kind, planned_ms, first_ms,
    updated_ms
