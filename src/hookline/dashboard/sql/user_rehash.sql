-- Keeps the same password under a newer hash; changes nothing where the password changed meanwhile.
update hookline_dashboard_users
set password_hash = :password_hash
where row_id = :row_id and password_hash = :old_hash
