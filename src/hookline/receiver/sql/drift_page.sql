-- The next items of a pass in one state, in the order in which they were found.
select row_id, pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, note, found_ms, settled_ms
from hookline_drift
where pass_id = :pass_id and state = :state and row_id > :after
order by row_id limit :limit
