-- Turns an endpoint off because it answered 410 Gone or failed for too long; one off or deleted already is left alone.
update hookline_sender_endpoints
set status = 'disabled',
    disabled_reason = :reason,
    trial_until_ms = null,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and status = 'enabled' and deleted_ms is null
returning row_id
