-- It was used.
update hookline_dashboard_sessions set seen_ms = :now_ms where token_sha256 = :token_sha256 and seen_ms < :now_ms
