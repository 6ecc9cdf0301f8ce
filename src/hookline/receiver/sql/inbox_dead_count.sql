-- How many dead entries could be applied again.
select count(*) from hookline_inbox_outcomes o cross join hookline_inbox i
where o.outcome = 'dead' and i.seq = o.seq
    and (cast(:source as text) is null or i.source = :source)
    and i.body is not null and coalesce(i.redacted, '') <> 'people'
