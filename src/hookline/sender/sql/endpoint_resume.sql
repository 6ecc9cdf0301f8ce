-- Ends a pause, and what we disabled is enabled again; what a person disabled stays so. One disabled for failing is
-- half open: one delivery goes first, and its time of failing begins anew.
update hookline_sender_endpoints
set paused_ms = null,
    is_half_open = case when status = 'disabled' and disabled_reason = 'failing' then 1 else is_half_open end,
    failing_since_ms = case when status = 'disabled' and disabled_reason = 'failing' then null else failing_since_ms end,
    failing_attempts = case when status = 'disabled' and disabled_reason = 'failing' then 0 else failing_attempts end,
    failing_warned = case when status = 'disabled' and disabled_reason = 'failing' then 0 else failing_warned end,
    status = case when disabled_reason = 'by_person' then status else 'enabled' end,
    disabled_reason = case when disabled_reason = 'by_person' then disabled_reason end,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and deleted_ms is null
returning row_id
