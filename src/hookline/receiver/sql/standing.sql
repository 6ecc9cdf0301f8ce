-- Whether there are any floors, and any questions to a source.
select exists (select 1 from hookline_floors), exists (select 1 from hookline_refetches)
