-- Gives a user another password.
update hookline_dashboard_users set password_hash = :password_hash where row_id = :row_id
