-- The open sessions of a user, newest first.
select id, user_name, created_ms, seen_ms, expires_ms, address, agent
from hookline_dashboard_sessions
where user_name = :user_name and expires_ms > :now_ms and seen_ms > :idle_ms
order by created_ms desc, id desc
