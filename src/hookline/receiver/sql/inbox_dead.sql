-- The next dead entries after one that could be applied again.
select i.seq, i.source, i.event_id from hookline_inbox_outcomes o cross join hookline_inbox i
where o.outcome = 'dead' and o.seq > :after and i.seq = o.seq
    and (cast(:source as text) is null or i.source = :source)
    and i.body is not null and coalesce(i.redacted, '') <> 'people'
order by o.seq limit :limit
