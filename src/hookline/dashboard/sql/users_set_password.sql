-- Another password.
update hookline_dashboard_users set password_hash = :password_hash where name = :name
