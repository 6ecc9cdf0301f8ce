-- Forgets every secret whose overlap is over.
update hookline_sender_endpoints
set old_secret_enc = null,
    old_secret_until_ms = null,
    signs_with_old = 0,
    probe_failures = 0,
    probe_after_ms = null
where old_secret_enc is not null and old_secret_until_ms <= :now_ms
