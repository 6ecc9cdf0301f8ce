-- By source, what is to be asked of it, the first :most looked at: how many, how many of those since an event is missing,
-- when the first of these was noticed, and how many were asked often enough in vain to wonder.
select
    source, count(*), sum(is_gap), min(case when is_gap = 1 then noticed_ms end), sum(case when tries > 2 then 1 else 0 end)
from (
    select
        source, noticed_ms, tries,
        case when ' ' || reasons || ' ' like '% gap %' or ' ' || reasons || ' ' like '% sequence %' then 1 else 0 end as is_gap
    from hookline_refetches
    limit :most
) r
group by source
order by source
