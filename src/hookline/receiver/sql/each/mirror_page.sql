-- The next rows of a table or its view after a key, in order of the key.
select {columns} from {table}
where source = :source and ({key}) > ({after})
order by {key} limit :limit
