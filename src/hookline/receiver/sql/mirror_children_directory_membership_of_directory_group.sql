-- The next memberships of one parent after a place in the walk.
select group_id, user_id from hookline_directory_memberships
where source = :source and group_id = :parent_id and user_id > :after_user
order by user_id limit :limit
