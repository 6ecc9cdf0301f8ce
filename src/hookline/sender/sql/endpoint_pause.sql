-- Pauses a live endpoint (paused_ms given) or resumes it (null); its deliveries are moved by their own verbs.
update hookline_sender_endpoints
set paused_ms = :paused_ms,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and deleted_ms is null
returning row_id
