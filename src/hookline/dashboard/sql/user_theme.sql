-- Keeps how a user wants pages to look.
update hookline_dashboard_users set theme = :theme where row_id = :row_id
