-- What is past its retention is removed.
delete from hookline_dashboard_audit where at_ms < :before_ms
