-- The listings of a pass in numbers.
select resource, state, count(*), sum(seen), sum(coalesce(live, 0)) from hookline_pass_scopes
where pass_id = :pass_id group by resource, state
