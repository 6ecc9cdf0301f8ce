-- Reads claimed deliveries with all that an attempt needs: the event's bytes, the endpoint's address and secrets as now.
select d.row_id, d.id, d.environment, d.endpoint_row, d.attempt, d.slots_used, d.unknown_attempts, d.next_kind,
       d.planned_ms, d.first_ms, d.updated_ms, e.body, p.id, p.url, p.secret_enc, p.version, p.schedule,
       e.id, e.traceparent, d.origin, e.origin, e.type, p.timeout_ms, p.rate_limit_per_min, p.headers_enc,
       p.standard_webhooks, p.old_secret_enc, p.old_secret_until_ms, p.signs_with_old, p.probe_failures,
       p.probe_after_ms
from json_each(:row_ids) w
join hookline_sender_deliveries d on d.row_id = cast(w.value as bigint)
join hookline_sender_events e on e.row_id = d.event_row
join hookline_sender_endpoints p on p.row_id = d.endpoint_row
order by d.row_id
