-- Reads pairs, present and past, by [group id, user id].
select m.group_id, m.user_id, m.directory_id, m.is_member, m.event_ms, m.sequence
from json_each(:pairs) w
join hookline_sender_memberships m
    on m.group_id = json_extract(w.value, '$[0]') and m.user_id = json_extract(w.value, '$[1]')
