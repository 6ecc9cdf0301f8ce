-- The floors there are of these scopes, given as a JSON list of [source, resource, scope_id]. Until this transaction's
-- commit no floor is set, whether there is one or not: `for share` takes the table's lock that floors_lock waits for.
with fence as (select 1 from hookline_floors where false for share)
select f.source, f.resource, f.scope_id, f.floor_us
from json_array_elements(cast(:scopes as json)) s (value)
join hookline_floors f on f.source = s.value ->> 0 and f.resource = s.value ->> 1 and f.scope_id = s.value ->> 2
where not exists (select 1 from fence)
