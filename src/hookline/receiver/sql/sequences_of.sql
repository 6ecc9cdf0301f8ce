-- The numbers known of these objects' events, given as a JSON list of [source, resource, object_id].
select s.source, s.resource, s.object_id, s.highest, s.missing
from json_each(:keys) k
-- Keeps this order: from the few keys to their rows.
cross join hookline_sequences s
where s.source = json_extract(k.value, '$[0]')
    and s.resource = json_extract(k.value, '$[1]')
    and s.object_id = json_extract(k.value, '$[2]')
