-- Reads running deliveries whose lease has passed, longest lapsed first: whoever claimed them is gone or late.
select d.row_id, d.id, d.environment, d.endpoint_row, d.attempt, d.slots_used, d.unknown_attempts, d.next_kind,
       d.planned_ms, d.first_ms, d.updated_ms, cast('' as blob), p.id, p.url, p.secret_enc, p.version, p.schedule,
       e.id, e.traceparent, d.origin, e.origin, e.type, p.timeout_ms, p.rate_limit_per_min, p.headers_enc,
       p.standard_webhooks, p.old_secret_enc, p.old_secret_until_ms, p.signs_with_old, p.probe_failures,
       p.probe_after_ms
from hookline_sender_deliveries d
join hookline_sender_events e on e.row_id = d.event_row
join hookline_sender_endpoints p on p.row_id = d.endpoint_row
where d.state = 'running' and d.leased_until_ms <= :now_ms
order by d.leased_until_ms
limit :limit
