-- What came before some changes of the same objects, but for what a handler has yet to hear of, or failed on.
select distinct o.seq
from hookline_changes c
join hookline_changes o
    on o.source = c.source and o.resource = c.resource and o.object_id = c.object_id and o.seq < c.seq
where c.seq in (select cast(value as bigint) from json_each(:seqs))
    and not exists (
        select 1 from hookline_handlers h cross join hookline_runs r
        where r.handler = h.name and r.change_seq = o.seq and r.state in ('pending', 'running', 'failed')
    )
