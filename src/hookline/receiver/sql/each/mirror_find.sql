-- The next rows of a table after a key, in order of the key, each with whether its view shows it.
select {columns}, r.deleted_at, r.flags, exists (
    select 1 from {table}_live l where l.source = r.source and {same}
)
from {table} r
where r.source = :source and {filters}
order by {key} limit :limit
