-- What is to be asked about these objects, given as a JSON list of [source, resource, object_id].
select r.source, r.resource, r.object_id, r.reasons, r.told_by, r.after_us, r.noticed_ms, r.due_ms, r.tries, r.error,
    r.lower_us, r.lower_read_us
from json_each(:keys) k
-- Keeps this order: from the few keys to their rows.
cross join hookline_refetches r
where r.source = json_extract(k.value, '$[0]')
    and r.resource = json_extract(k.value, '$[1]')
    and r.object_id = json_extract(k.value, '$[2]')
