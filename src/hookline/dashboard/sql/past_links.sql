-- Removes links that have expired.
delete from hookline_dashboard_links where expires_ms <= :now_ms
