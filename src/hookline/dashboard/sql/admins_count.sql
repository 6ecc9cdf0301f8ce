-- Counts the admins who may sign in.
select count(*) from hookline_dashboard_users where role = 'admin' and disabled_ms is null
