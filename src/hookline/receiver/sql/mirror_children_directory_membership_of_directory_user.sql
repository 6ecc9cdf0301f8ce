-- The next memberships of one parent after a place in the walk.
select group_id, user_id from hookline_directory_memberships
where source = :source and user_id = :parent_id and group_id > :after
order by group_id limit :limit
