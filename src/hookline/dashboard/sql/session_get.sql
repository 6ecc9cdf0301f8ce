-- Reads whose session a token is, unless it has ended or its user is disabled.
select s.id, s.user_row, s.used_ms, u.name, u.role, u.theme
from hookline_dashboard_sessions s
join hookline_dashboard_users u on u.row_id = s.user_row
where s.token_hash = :token_hash and s.expires_ms > :now_ms and s.used_ms > :idle_ms and u.disabled_ms is null
