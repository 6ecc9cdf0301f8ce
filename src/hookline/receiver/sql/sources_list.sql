-- The sources of which something was ever kept, or whose lists were read: by one step through an index for each.
with recursive met (source) as (
    select min(source) from hookline_inbox
    union all
    select (select min(i.source) from hookline_inbox i where i.source > met.source) from met where met.source is not null
)
select source from met where source is not null
union
select source from hookline_retention
union
select source from hookline_passes
order by 1
