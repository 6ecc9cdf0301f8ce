-- A new user, unless the name is taken; its name comes back where it was not.
insert into hookline_dashboard_users (name, role, password_hash, oidc_subject, theme, created_ms, disabled_ms)
values (:name, :role, :password_hash, :oidc_subject, 'system', :now_ms, null)
on conflict do nothing
returning name
