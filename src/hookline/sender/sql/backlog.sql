-- Counts one environment's open deliveries by index alone, each count up to :most, and finds the oldest that is due. What
-- waits for a closed endpoint counts as held, which it is about to be.
select
    (
        select count(*) from (
            select 1
            from hookline_sender_endpoints p
            join hookline_sender_deliveries d
                on d.endpoint_row = p.row_id and d.state = 'pending' and d.due_ms <= :now_ms
            where p.environment = :environment and p.deleted_ms is null
                and p.status = 'enabled' and p.paused_ms is null
            limit :most
        ) a
    ) as due,
    (
        select count(*) from (
            select 1
            from hookline_sender_endpoints p
            join hookline_sender_deliveries d
                on d.endpoint_row = p.row_id and d.state = 'pending' and d.due_ms > :now_ms and d.due_ms <= :soon_ms
            where p.environment = :environment and p.deleted_ms is null
                and p.status = 'enabled' and p.paused_ms is null
            limit :most
        ) b
    ) as soon,
    (
        select count(*) from (
            select 1
            from hookline_sender_endpoints p
            join hookline_sender_deliveries d
                on d.endpoint_row = p.row_id and d.state = 'pending' and d.due_ms > :soon_ms
            where p.environment = :environment and p.deleted_ms is null
                and p.status = 'enabled' and p.paused_ms is null
            limit :most
        ) c
    ) as later,
    (
        select count(*) from (
            select 1
            from hookline_sender_endpoints p
            join hookline_sender_deliveries d on d.endpoint_row = p.row_id and d.state = 'held'
            where p.environment = :environment and p.deleted_ms is null
            union all
            select 1
            from hookline_sender_endpoints p
            join hookline_sender_deliveries d on d.endpoint_row = p.row_id and d.state = 'pending'
            where p.environment = :environment and p.deleted_ms is null
                and (p.status <> 'enabled' or p.paused_ms is not null)
            limit :most
        ) e
    ) as held,
    (
        select min((
            select min(q.due_ms)
            from hookline_sender_deliveries q
            where q.state = 'pending' and q.endpoint_row = p.row_id
        ))
        from hookline_sender_endpoints p
        where p.environment = :environment
            and p.deleted_ms is null
            and p.status = 'enabled'
            and p.paused_ms is null
            and p.hold_through_row is null
    ) as oldest_ms
