-- Holds what waits for an endpoint that is closed, or cancels it where the endpoint is deleted, so many at a time, due
-- first first. Of an endpoint that is open nothing is moved. A held one keeps due_ms, so that a retry keeps its time.
update hookline_sender_deliveries
set state = case when p.deleted_ms is null then 'held' else 'canceled' end,
    due_ms = case when p.deleted_ms is null then due_ms end,
    reason = case
        when p.deleted_ms is not null then 'endpoint_deleted'
        when p.paused_ms is not null then 'endpoint_paused'
        when p.disabled_reason = 'by_person' then 'endpoint_disabled'
        else 'endpoint_' || p.disabled_reason
    end,
    updated_ms = :now_ms
from hookline_sender_endpoints p
where p.row_id = :endpoint_row
    and (p.status <> 'enabled' or p.paused_ms is not null or p.deleted_ms is not null)
    and hookline_sender_deliveries.state = 'pending'
    and hookline_sender_deliveries.row_id in (
        select q.row_id
        from hookline_sender_deliveries q
        where q.endpoint_row = :endpoint_row and q.state = 'pending'
        order by q.due_ms
        limit :limit
    )
