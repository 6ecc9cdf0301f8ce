-- One row, whole, and whether its view shows it.
select exists (
    select 1 from {table}_live l where l.source = r.source and {same}
), {columns}
from {table} r
where r.source = :source and {key}
