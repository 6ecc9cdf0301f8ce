-- Claims due deliveries of each endpoint named, oldest due first, for one holder until the lease passes; a delivery that
-- somebody else is claiming just now is passed over. :endpoint_slots is a JSON list of [endpoint row, how many at most].
-- Only endpoints as in the common statement, and only events that have their place in the feed; the state is a literal
-- for the partial index, and the array keeps the plan whatever the statistics say (measurements.md 10a). :gated and the
-- lease are as in the common statement.
update hookline_sender_deliveries
set state = 'running',
    attempt = attempt + 1,
    due_ms = null,
    leased_until_ms = cast(:now_ms as bigint) + :margin_ms + (
        select coalesce(t.timeout_ms, :timeout_ms) * case when t.old_secret_until_ms > :now_ms then 2 else 1 end
        from hookline_sender_endpoints t
        where t.row_id = hookline_sender_deliveries.endpoint_row
    ),
    first_ms = coalesce(first_ms, :now_ms),
    updated_ms = :now_ms
where row_id = any (array(
    select d.row_id
    from json_array_elements(cast(:endpoint_slots as json)) w (pair)
    join hookline_sender_endpoints p
        on p.row_id = cast(w.pair ->> 0 as bigint)
        and p.status = 'enabled' and p.paused_ms is null and p.deleted_ms is null
        and p.hold_through_row is null
        and case when p.rate_limit_per_min is null and p.is_half_open = 0 then 0 else 1 end = :gated
    cross join lateral (
        select q.row_id
        from hookline_sender_deliveries q
        where q.endpoint_row = p.row_id and q.state = 'pending' and q.due_ms <= :now_ms
            and not exists (select 1 from hookline_sender_unfed u where u.event_row = q.event_row)
        order by q.due_ms
        limit cast(w.pair ->> 1 as bigint)
        for update skip locked
    ) d
))
returning row_id, id, event_row, endpoint_row, origin, attempt, slots_used, unknown_attempts, next_kind, planned_ms, first_ms,
    updated_ms
