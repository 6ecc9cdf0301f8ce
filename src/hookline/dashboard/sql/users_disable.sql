-- May no longer sign in, unless it is the last admin.
update hookline_dashboard_users set disabled_ms = :now_ms
where name = :name and disabled_ms is null and (role <> 'admin' or exists (
    select 1 from hookline_dashboard_users o where o.name <> :name and o.role = 'admin' and o.disabled_ms is null
))
