-- Gone, unless it is the last admin.
delete from hookline_dashboard_users
where name = :name and (role <> 'admin' or disabled_ms is not null or exists (
    select 1 from hookline_dashboard_users o where o.name <> :name and o.role = 'admin' and o.disabled_ms is null
))
