-- The entries of these event ids, oldest first, with what became of each.
select i.seq, i.event_id, i.type, i.body, i.received_ms, coalesce(o.outcome, 'waiting'), coalesce(o.reason, i.reason),
    coalesce((
        select cast(sum(r.times) as bigint) from hookline_inbox_repeats r
        where r.source = i.source and r.event_id = i.event_id and r.kind = 'duplicate'
    ), 0)
from hookline_inbox i
left join hookline_inbox_outcomes o on o.seq = i.seq
where i.source = :source and i.event_id in (select value from json_each(:event_ids)) and i.body is not null
order by i.seq
