-- Removes memberships of these users, at most so many; how many tells whether there may be more.
delete from hookline_sender_memberships
where (group_id, user_id) in (
    select m.group_id, m.user_id
    from json_each(:ids) w
    join hookline_sender_memberships m on m.user_id = w.value
    limit :limit
)
