-- Another theme.
update hookline_dashboard_users set theme = :theme where name = :name
