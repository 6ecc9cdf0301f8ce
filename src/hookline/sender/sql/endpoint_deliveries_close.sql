-- Holds or cancels what waits for endpoints that are closed: made by whoever saw them open and committed after their
-- closing. An endpoint that is open by now is left alone.
update hookline_sender_deliveries
set state = case when p.deleted_ms is null then 'held' else 'canceled' end,
    due_ms = case when p.deleted_ms is null then due_ms end,
    reason = case
        when p.deleted_ms is not null then 'endpoint_deleted'
        when p.paused_ms is not null then 'endpoint_paused'
        else 'endpoint_disabled'
    end,
    updated_ms = :now_ms
from hookline_sender_endpoints p
where p.row_id = hookline_sender_deliveries.endpoint_row
    and (p.status <> 'enabled' or p.paused_ms is not null or p.deleted_ms is not null)
    and hookline_sender_deliveries.state = 'pending'
    and hookline_sender_deliveries.endpoint_row in (select cast(value as bigint) from json_each(:endpoint_rows))
