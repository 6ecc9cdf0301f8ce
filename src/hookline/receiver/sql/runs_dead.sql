-- The oldest runs that failed for good.
select r.row_id from hookline_runs r
where r.state = 'failed' and (cast(:handler as text) is null or r.handler = :handler)
order by r.row_id limit :limit
