-- Reads the sessions of one user, or, with null, everybody's, that have not ended, newest first.
select s.id, u.name, s.method, s.address, s.agent, s.created_ms, s.used_ms, s.expires_ms
from hookline_dashboard_sessions s
join hookline_dashboard_users u on u.row_id = s.user_row
where (cast(:user_row as integer) is null or s.user_row = :user_row)
    and s.expires_ms > :now_ms and s.used_ms > :idle_ms
order by s.created_ms desc, s.id desc
limit :limit
