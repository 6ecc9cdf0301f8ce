-- Keeps the leases of attempts that are being worked on; not of one that took such an attempt's place.
update hookline_runs r
set leased_until_ms = :leased_until_ms
from json_array_elements(cast(:attempts as json)) a (value)
where r.row_id = cast(a.value ->> 0 as bigint) and r.attempt = cast(a.value ->> 1 as bigint) and r.state = 'running'
