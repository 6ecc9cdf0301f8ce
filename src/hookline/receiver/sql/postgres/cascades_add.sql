-- Queues walks over the children of objects that died or returned.
insert into hookline_cascades (source, resource, object_id, cause_seq, cause, created_ms)
select * from unnest /*columns*/ (
    cast(:source as text[]), cast(:resource as text[]), cast(:object_id as text[]), cast(:cause_seq as bigint[]),
    cast(:cause as text[]), cast(:created_ms as bigint[])
)
