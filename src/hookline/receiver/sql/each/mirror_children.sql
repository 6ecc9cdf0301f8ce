-- The next children of one parent after a place in the walk, in order of id.
select id from {table}
where source = :source and {parent} = :parent_id and id > :after
order by id limit :limit
