-- Reads pairs, present and past, by [group id, user id].
select m.group_id, m.user_id, m.directory_id, m.is_member, m.event_ms, m.sequence
from json_each(:pairs) w
-- Keeps this order: from the few pairs to their rows.
cross join hookline_sender_memberships m
where m.group_id = json_extract(w.value, '$[0]') and m.user_id = json_extract(w.value, '$[1]')
