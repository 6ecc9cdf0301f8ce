-- The next items of a pass that have come out, in the order in which they were found.
select row_id, pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, note, found_ms, settled_ms
from hookline_drift
where pass_id = :pass_id and state in ('open', 'healed', 'ignored') and row_id > :after
    and (cast(:state as text) is null or state = :state)
    and (cast(:kind as text) is null or kind = :kind)
order by row_id limit :limit
