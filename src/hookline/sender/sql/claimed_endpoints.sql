-- Reads where claimed deliveries go, each endpoint once: its address, secrets and settings as they are now.
select p.row_id, p.id, p.environment, p.url, p.version, p.secret_enc, p.old_secret_enc, p.old_secret_until_ms,
    p.signs_with_old, p.probe_failures, p.probe_after_ms, p.headers_enc, p.standard_webhooks, p.schedule, p.timeout_ms,
    p.rate_limit_per_min
from hookline_sender_endpoints p
where p.row_id in (select cast(w.value as bigint) from json_each(:endpoint_rows) w)
