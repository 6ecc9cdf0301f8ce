-- The first user, and only the first: its name comes back unless there is a user already.
insert into hookline_dashboard_users (name, role, password_hash, oidc_subject, theme, created_ms, disabled_ms)
select :name, 'admin', :password_hash, null, 'system', :now_ms, null
where not exists (select 1 from hookline_dashboard_users)
returning name
