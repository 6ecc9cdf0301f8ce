-- Cancels what is held for an endpoint that is deleted, so many at a time. Of one that is not nothing is moved.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = 'endpoint_deleted', updated_ms = :now_ms
where row_id in (
        select q.row_id
        from hookline_sender_deliveries q
        where q.endpoint_row = :endpoint_row and q.state = 'held'
        order by q.event_row
        limit :limit
    )
    and state = 'held'
    and exists (select 1 from hookline_sender_endpoints p where p.row_id = :endpoint_row and p.deleted_ms is not null)
