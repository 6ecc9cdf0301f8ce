-- What a group has of these users, and whether each is shown as its member.
select r.user_id, exists (
    select 1 from {table}_live l where l.source = r.source and l.group_id = r.group_id and l.user_id = r.user_id
), r.flags, r.add_us
from {table} r
where r.source = :source and r.group_id = :group_id and r.user_id in (select value from json_each(:ids))
