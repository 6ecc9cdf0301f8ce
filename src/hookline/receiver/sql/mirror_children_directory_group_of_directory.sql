-- The next children of one parent after a place in the walk, in order of id.
select id from hookline_directory_groups
where source = :source and directory_id = :parent_id and id > :after
order by id limit :limit
