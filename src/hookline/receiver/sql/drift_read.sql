-- One item of what differs.
select row_id, pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, note, found_ms, settled_ms
from hookline_drift where row_id = :row_id
