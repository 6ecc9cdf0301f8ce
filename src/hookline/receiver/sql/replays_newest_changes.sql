-- The newest change of each object of some changes, in the order of the feed.
select distinct (
    select max(l.seq) from hookline_changes l
    where l.source = c.source and l.resource = c.resource and l.object_id = c.object_id
), c.resource, c.source, c.object_id
from hookline_changes c
where c.seq in (select cast(value as bigint) from json_each(:seqs))
order by 1
