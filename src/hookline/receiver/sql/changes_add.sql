-- Appends to the change feed; the new places come back, ascending in the order of the rows given.
insert into hookline_changes (
    source, resource, object_id, kind, is_live, before, after, cause_seq, cause, changed_ms
)
values /*rows*/ (
    :source, :resource, :object_id, :kind, :is_live, :before, :after, :cause_seq, :cause, :changed_ms
)
returning seq
