-- Forgets the secret before the newest of one live endpoint, at once; gives no row where there is none.
update hookline_sender_endpoints
set old_secret_enc = null,
    old_secret_until_ms = null,
    signs_with_old = 0,
    probe_failures = 0,
    probe_after_ms = null,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and old_secret_enc is not null and deleted_ms is null
returning row_id
