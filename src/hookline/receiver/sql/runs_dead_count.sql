-- How many runs failed for good.
select count(*) from hookline_runs r
where r.state = 'failed' and (cast(:handler as text) is null or r.handler = :handler)
