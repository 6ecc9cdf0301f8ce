-- Reads the groups of a user whose ids come after one, nearest first.
select g.id, g.environment, g.directory_id, g.idp_id, g.name, g.created_ms, g.updated_ms, g.event_ms, g.sequence
from hookline_sender_memberships m
join hookline_sender_directory_groups g on g.id = m.group_id
where m.user_id = :user_id and m.is_member = 1 and m.group_id > :id
order by m.group_id
limit :limit
