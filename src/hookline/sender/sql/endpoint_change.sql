-- Changes a live endpoint and counts its version up. A null url, status or standard_webhooks leaves its column alone,
-- the others say with has_… whether they are to be written. Turning it on by hand forgets why it was off; one that we
-- disabled for failing is then half open.
update hookline_sender_endpoints
set url = coalesce(cast(:url as text), url),
    disabled_reason = case
        when cast(:status as text) is null then disabled_reason
        when :status = 'enabled' then null
        else 'by_person'
    end,
    is_half_open = case
        when :status = 'enabled' and status = 'disabled' then
            case when disabled_reason = 'failing' then 1 else is_half_open end
        else is_half_open
    end,
    failing_since_ms = case when :status = 'enabled' and status = 'disabled' then null else failing_since_ms end,
    failing_attempts = case when :status = 'enabled' and status = 'disabled' then 0 else failing_attempts end,
    failing_warned = case when :status = 'enabled' and status = 'disabled' then 0 else failing_warned end,
    trial_until_ms = case when :status = 'enabled' and status = 'disabled' then null else trial_until_ms end,
    status = coalesce(cast(:status as text), status),
    standard_webhooks = coalesce(cast(:standard_webhooks as integer), standard_webhooks),
    description = case when :has_description = 1 then cast(:description as text) else description end,
    timeout_ms = case when :has_timeout_ms = 1 then cast(:timeout_ms as integer) else timeout_ms end,
    rate_limit_per_min = case
        when :has_rate_limit_per_min = 1 then cast(:rate_limit_per_min as integer)
        else rate_limit_per_min
    end,
    headers_enc = case when :has_headers_enc = 1 then cast(:headers_enc as text) else headers_enc end,
    schedule = case when :has_schedule = 1 then cast(:schedule as text) else schedule end,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and deleted_ms is null
returning row_id
