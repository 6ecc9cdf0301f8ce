-- The next entries of a source after one, with what became of each.
select i.seq, i.event_id, i.type, i.body, i.received_ms, coalesce(o.outcome, 'waiting'), coalesce(o.reason, i.reason)
from hookline_inbox i
left join hookline_inbox_outcomes o on o.seq = i.seq
where i.source = :source and i.seq > :after
order by i.seq limit :limit
