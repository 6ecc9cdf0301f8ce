-- Removes sessions that have ended.
delete from hookline_dashboard_sessions where expires_ms <= :now_ms or used_ms <= :idle_ms
