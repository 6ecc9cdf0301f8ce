-- The next one has to wait until then.
update hookline_dashboard_failures set wait_until_ms = :wait_until_ms where subject = :subject
