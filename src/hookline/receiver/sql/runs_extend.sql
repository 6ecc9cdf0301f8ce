-- Keeps the leases of runs that are being worked on.
update hookline_runs set leased_until_ms = :leased_until_ms
where state = 'running' and row_id in (select value from json_each(:row_ids))
