-- Reads the groups that these users are in, by user, oldest first.
select m.user_id, g.id, g.environment, g.directory_id, g.idp_id, g.name, g.created_ms, g.updated_ms, g.event_ms, g.sequence
from hookline_sender_memberships m
join hookline_sender_directory_groups g on g.id = m.group_id
where m.user_id in (select value from json_each(:user_ids)) and m.is_member = 1
order by m.user_id, m.group_id
