-- The next relations of one end after a place in the walk, in order of the other end.
select {one}, {other} from {table}
where source = :source and {end} = :parent_id and {far} > :{after}
order by {far} limit :limit
