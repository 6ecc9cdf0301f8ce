-- By what is listed: how many listings have a floor and the oldest of these, what is to be asked, what differs.
select l.resource,
    (select count(*) from hookline_floors f where f.source = :source and f.resource = l.resource and f.floor_us >= 0),
    (select min(f.floor_us) from hookline_floors f where f.source = :source and f.resource = l.resource and f.floor_us >= 0),
    (select count(*) from hookline_refetches r where r.source = :source and r.resource = l.resource),
    (
        select count(*) from hookline_drift d
        where d.resource = l.resource and d.state = 'open' and d.kind <> 'uncertain' and d.pass_id = (
            select max(p.row_id) from hookline_passes p
            where p.source = :source and p.mode = 'dry_run' and p.state = 'completed'
        )
    )
from (select value as resource from json_each(:resources)) l
