-- Reads live endpoints made after a row, nearest first; null filters are open.
select p.row_id, p.id, p.environment, p.url, p.status, p.disabled_reason, p.paused_ms, p.description,
       p.secret_enc, p.version, p.schedule, p.created_ms, p.updated_ms, p.deleted_ms, p.timeout_ms,
       p.rate_limit_per_min, p.headers_enc, p.standard_webhooks, p.old_secret_enc, p.old_secret_until_ms,
       p.signs_with_old, p.probe_failures, p.probe_after_ms, p.failing_since_ms, p.failing_attempts, p.failing_warned,
       p.is_half_open
from hookline_sender_endpoints p
where p.environment = :environment and p.row_id > :cursor_row and p.deleted_ms is null
    and (cast(:status as text) is null or p.status = :status)
    and (cast(:url_pattern as text) is null or lower(p.url) like lower(:url_pattern) escape '!')
    and (cast(:text_pattern as text) is null or lower(p.url) like lower(:text_pattern) escape '!'
         or lower(p.description) like lower(:text_pattern) escape '!')
    and (cast(:standing as text) is null
         or case when p.status = 'disabled' then 'disabled' when p.paused_ms is not null then 'paused'
                 when p.failing_since_ms is not null then 'failing' else 'enabled' end = :standing)
order by p.row_id
limit :limit
