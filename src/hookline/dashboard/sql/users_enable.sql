-- May sign in again.
update hookline_dashboard_users set disabled_ms = null where name = :name
