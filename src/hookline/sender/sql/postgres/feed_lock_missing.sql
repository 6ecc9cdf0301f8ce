-- Takes the feed's lock if events wait for their place, and only then: it is held until the commit. A row tells so.
select pg_advisory_xact_lock(5021706183927116801) from (select 1 from hookline_sender_unfed limit 1) u
