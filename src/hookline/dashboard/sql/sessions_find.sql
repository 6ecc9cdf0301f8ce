-- Whose session this is, where it has not ended and its user may sign in.
select s.id, s.seen_ms, u.name, u.role, u.theme
from hookline_dashboard_sessions s join hookline_dashboard_users u on u.name = s.user_name
where s.token_sha256 = :token_sha256 and s.expires_ms > :now_ms and s.seen_ms > :idle_ms and u.disabled_ms is null
