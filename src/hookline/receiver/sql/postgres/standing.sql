-- Whether there are any floors, and any questions to a source. Until this transaction's commit no floor is set, whether
-- there is one or not: `for share` takes the table's lock that floors_lock waits for.
with fence as (select 1 from hookline_floors where false for share)
select exists (select 1 from hookline_floors), exists (select 1 from hookline_refetches)
where not exists (select 1 from fence)
