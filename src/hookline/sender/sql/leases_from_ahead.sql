-- Shortens leases that last longer than any is given: they were given before the clock was set back.
update hookline_sender_deliveries
set leased_until_ms = :longest_ms
where state = 'running' and leased_until_ms > :longest_ms
