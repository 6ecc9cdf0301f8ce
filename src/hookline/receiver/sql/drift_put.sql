-- Writes items whole, as they stand after another look.
insert into hookline_drift (
    row_id, pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, note, found_ms, settled_ms
)
values /*rows*/ (
    :row_id, :pass_id, :source, :resource, :object_id, :scope_id, :kind, :fields, :cause, :evidence, :state, :note,
    :found_ms, :settled_ms
)
on conflict (row_id) do update set
    kind = excluded.kind, fields = excluded.fields, cause = excluded.cause, evidence = excluded.evidence,
    state = excluded.state, note = excluded.note, found_ms = excluded.found_ms, settled_ms = excluded.settled_ms
