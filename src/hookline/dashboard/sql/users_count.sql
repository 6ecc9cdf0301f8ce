-- How many users there are, and how many of them are admins who may sign in.
select count(*), coalesce(sum(case when role = 'admin' and disabled_ms is null then 1 else 0 end), 0)
from hookline_dashboard_users
