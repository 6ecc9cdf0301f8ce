-- Keeps the leases of attempts that are being worked on; not of one that took such an attempt's place.
update hookline_runs set leased_until_ms = :leased_until_ms
where state = 'running' and exists (
    select 1 from json_each(:attempts) a
    where json_extract(a.value, '$[0]') = hookline_runs.row_id and json_extract(a.value, '$[1]') = hookline_runs.attempt
)
