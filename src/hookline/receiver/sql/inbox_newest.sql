-- When the newest entry of any source arrived that `hookline doctor` did not post; how many of the newest hundred it did
-- post since a moment; how many entries are dead, up to :most.
select
    (
        select i.received_ms from hookline_inbox i
        where i.type is null or i.type <> 'hookline.probe'
        order by i.seq desc limit 1
    ),
    (
        select count(*) from (select i.type, i.received_ms from hookline_inbox i order by i.seq desc limit 100) n
        where n.type = 'hookline.probe' and n.received_ms >= :since_ms
    ),
    (select count(*) from (select 1 from hookline_inbox_outcomes o where o.outcome = 'dead' limit :most) d)
