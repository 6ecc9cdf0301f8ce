-- How many passes are kept of each source, by what became of them.
select source, state, count(*) from hookline_passes group by source, state order by source, state
