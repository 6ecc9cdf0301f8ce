-- Appends to the change feed; the new places come back, ascending in the order of the rows given.
insert into hookline_changes (
    source, resource, object_id, kind, is_live, before, after, cause_seq, cause, changed_ms
)
select r.source, r.resource, r.object_id, r.kind, r.is_live, r.before, r.after, r.cause_seq, r.cause, r.changed_ms
from unnest /*columns*/ (
    cast(:source as text[]), cast(:resource as text[]), cast(:object_id as text[]), cast(:kind as text[]),
    cast(:is_live as bigint[]), cast(:before as text[]), cast(:after as text[]), cast(:cause_seq as bigint[]),
    cast(:cause as text[]), cast(:changed_ms as bigint[])
) with ordinality as r (
    source, resource, object_id, kind, is_live, before, after, cause_seq, cause, changed_ms, place
)
order by r.place
returning seq
