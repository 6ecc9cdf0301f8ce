-- The rows of these (group_id, user_id) pairs, given as a JSON list of two-element lists.
select
    m.group_id, m.user_id, m.directory_id, m.add_us, m.add_event_id, m.remove_us, m.remove_event_id,
    m.flags, m.announced_live
from json_each(:pairs) p
join hookline_directory_memberships m
    on m.source = :source
    and m.group_id = json_extract(p.value, '$[0]')
    and m.user_id = json_extract(p.value, '$[1]')
