-- Gives a live endpoint a new secret and keeps, or not, the one its consumer knows; earlier probes count no more.
update hookline_sender_endpoints
set secret_enc = :secret_enc,
    old_secret_enc = :old_secret_enc,
    old_secret_until_ms = :old_secret_until_ms,
    signs_with_old = case when cast(:old_secret_enc as text) is null then 0 else 1 end,
    probe_failures = 0,
    probe_after_ms = null,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and deleted_ms is null
returning row_id
