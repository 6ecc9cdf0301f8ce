-- Tells whether there is any user.
select 1 from hookline_dashboard_users limit 1
