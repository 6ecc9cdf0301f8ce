-- Notes that a session was used.
update hookline_dashboard_sessions set used_ms = :now_ms where token_hash = :token_hash and used_ms < :now_ms
