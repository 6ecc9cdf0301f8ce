-- The next rows of a table after a key, in order of the key, each with whether its view shows it.
select {columns}, r.deleted_at, r.flags, exists (
    -- With an offset PostgreSQL looks row by row, by key; without, it may make a list of all that are alive first.
    select 1 from {table}_live l where l.source = r.source and {same} limit 1 offset 0
)
from {table} r
where r.source = :source and {filters}
order by {key} limit :limit
