-- Every user, with how many sessions are open and when one was last seen.
select u.name, u.role, u.password_hash, u.oidc_subject, u.theme, u.created_ms, u.disabled_ms,
    (select count(*) from hookline_dashboard_sessions s where s.user_name = u.name and s.expires_ms > :now_ms),
    (select max(s.seen_ms) from hookline_dashboard_sessions s where s.user_name = u.name)
from hookline_dashboard_users u order by u.name
