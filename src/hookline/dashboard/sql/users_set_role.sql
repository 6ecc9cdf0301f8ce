-- Another role, unless the last admin would be gone.
update hookline_dashboard_users set role = :role
where name = :name and (:role = 'admin' or exists (
    select 1 from hookline_dashboard_users o where o.name <> :name and o.role = 'admin' and o.disabled_ms is null
) or role <> 'admin' or disabled_ms is not null)
