-- The user that an identity provider knows under this subject.
select name, role, password_hash, oidc_subject, theme, created_ms, disabled_ms
from hookline_dashboard_users where oidc_subject = :oidc_subject
