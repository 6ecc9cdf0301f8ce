-- Reads a group's members whose ids come after one, nearest first.
select u.id, u.environment, u.directory_id, u.idp_id, u.email, u.state, u.fields, u.created_ms, u.updated_ms,
    u.event_ms, u.sequence
from hookline_sender_memberships m
join hookline_sender_directory_users u on u.id = m.user_id
where m.group_id = :group_id and m.is_member = 1 and m.user_id > :id
order by m.user_id
limit :limit
