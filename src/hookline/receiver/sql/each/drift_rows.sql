-- The rows of these ids as they are, and whether each is shown.
select r.id, exists (select 1 from {table}_live l where l.source = r.source and l.id = r.id), r.payload, r.flags,
    r.content_event_id, r.proof_us, {columns}
from {table} r
where r.source = :source and r.id in (select value from json_each(:ids))
