-- Where a stretch of so many rows ends; nothing where the table does.
select {key} from {table} r where r.source = :source and {filters} order by {key} limit 1 offset :offset
