-- Gives a user another role.
update hookline_dashboard_users set role = :role where row_id = :row_id
