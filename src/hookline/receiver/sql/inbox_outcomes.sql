-- How many entries of one source, or of all, ended how.
select o.outcome, count(*) from hookline_inbox_outcomes o join hookline_inbox i on i.seq = o.seq
where (cast(:source as text) is null or i.source = :source)
group by o.outcome
