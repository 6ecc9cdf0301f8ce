-- Turns an endpoint off because it answered 410 Gone; one that is off or deleted already is left alone.
update hookline_sender_endpoints
set status = 'disabled',
    disabled_reason = 'gone',
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and status = 'enabled' and deleted_ms is null
returning row_id
