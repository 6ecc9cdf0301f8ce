-- The newest pass of each source, its last whole one that put things right, and what the newest dry run left open.
select p.source, p.row_id, p.kind, p.mode, p.state, p.reason, p.created_ms, p.updated_ms,
    (
        select max(a.finished_ms) from hookline_passes a
        where a.source = p.source and a.mode = 'apply' and a.state = 'completed' and a.directory_id is null
    ),
    (
        select count(*) from (
            select 1 from hookline_drift d
            where d.state = 'open' and d.kind <> 'uncertain' and d.pass_id = (
                select max(l.row_id) from hookline_passes l
                where l.source = p.source and l.mode = 'dry_run' and l.state = 'completed'
            )
            limit :most
        ) o
    )
from hookline_passes p
where p.row_id in (select max(row_id) from hookline_passes group by source)
order by p.source
