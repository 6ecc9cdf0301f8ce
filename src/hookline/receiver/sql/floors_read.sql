-- The floors there are of these scopes, given as a JSON list of [source, resource, scope_id].
select f.source, f.resource, f.scope_id, f.floor_us
from json_each(:scopes) s
-- Keeps this order: from the few scopes to their floors.
cross join hookline_floors f
where f.source = json_extract(s.value, '$[0]')
    and f.resource = json_extract(s.value, '$[1]')
    and f.scope_id = json_extract(s.value, '$[2]')
