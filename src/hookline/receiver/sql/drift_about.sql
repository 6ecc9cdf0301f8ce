-- Those items of a pass, not yet explained, that are about any of these objects.
select row_id, pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, note, found_ms, settled_ms
from hookline_drift
where pass_id = :pass_id and resource = :resource and state = 'checked'
    and object_id in (select value from json_each(:ids))
