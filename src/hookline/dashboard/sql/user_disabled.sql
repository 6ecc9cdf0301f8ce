-- Disables a user, or, with null, enables them again.
update hookline_dashboard_users set disabled_ms = :disabled_ms where row_id = :row_id
