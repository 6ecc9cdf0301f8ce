-- How many entries of one source ended how.
select o.outcome, count(*) from hookline_inbox_outcomes o join hookline_inbox i on i.seq = o.seq
where i.source = :source
group by o.outcome
