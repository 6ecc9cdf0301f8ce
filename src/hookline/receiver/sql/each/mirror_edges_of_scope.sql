-- The next relations within one scope after a place in the walk.
select {one}, {other} from {table}
where source = :source and {scope} = :parent_id and ({one}, {other}) > (:after, :after_other)
order by {one}, {other} limit :limit
