-- Makes a walk over one child of a walk, which failed on it; unless there are as many as allowed of that object.
insert into hookline_cascades
    (source, resource, object_id, position, cause_seq, cause, created_ms, tries, due_ms, error, child)
select c.source, c.resource, c.object_id, c.position, c.cause_seq, c.cause, c.created_ms, 1, :due_ms, :error, :child
from hookline_cascades c
where c.row_id = :row_id and :most > (
    select count(*) from hookline_cascades o
    where o.source = c.source and o.resource = c.resource and o.object_id = c.object_id and o.child is not null
)
