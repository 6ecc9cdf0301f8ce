-- Queues walks over the children of objects that died or returned.
insert into hookline_cascades (source, resource, object_id, cause_seq, cause, created_ms)
values /*rows*/ (:source, :resource, :object_id, :cause_seq, :cause, :created_ms)
