-- One user.
select name, role, password_hash, oidc_subject, theme, created_ms, disabled_ms
from hookline_dashboard_users where name = :name
