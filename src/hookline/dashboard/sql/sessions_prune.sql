-- What has ended by itself is removed.
delete from hookline_dashboard_sessions where expires_ms <= :now_ms
