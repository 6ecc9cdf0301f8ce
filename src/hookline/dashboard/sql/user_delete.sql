-- Removes a user.
delete from hookline_dashboard_users where row_id = :row_id
