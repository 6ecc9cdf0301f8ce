-- The next memberships of one parent after a place in the walk.
select group_id, user_id from hookline_directory_memberships
where source = :source and directory_id = :parent_id and (group_id, user_id) > (:after, :after_user)
order by group_id, user_id limit :limit
