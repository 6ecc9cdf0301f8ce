-- What is long ago is removed.
delete from hookline_dashboard_failures where last_ms < :forgotten_ms
