-- Holds what waited for an endpoint before it was opened again, up to a row, so many at a time, due first
-- first. The unary plus keeps to the index of what waits, which knows no rows.
update hookline_sender_deliveries
set state = 'held', reason = 'endpoint_resuming', updated_ms = :now_ms
where row_id in (
        select q.row_id
        from hookline_sender_deliveries q
        where q.endpoint_row = :endpoint_row and q.state = 'pending' and +q.row_id <= :through_row
        order by q.due_ms
        limit :limit
    )
    and state = 'pending'
