-- Shortens leases that are longer than any there is: whoever still runs keeps them up, of the others the attempt is over.
update hookline_runs set leased_until_ms = :leased_until_ms
where state = 'running' and leased_until_ms > :longest_lease_ms
