-- Notes differences to be looked at once more; the first of each object stays.
insert into hookline_drift (pass_id, source, resource, object_id, scope_id, kind, fields, evidence, state, found_ms)
values /*rows*/ (
    :pass_id, :source, :resource, :object_id, :scope_id, :kind, :fields, :evidence, 'candidate', :found_ms
)
on conflict do nothing
