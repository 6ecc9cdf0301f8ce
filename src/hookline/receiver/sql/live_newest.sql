-- Reads the newest entries of every source, newest first; otherwise as live_after.
select i.seq, i.source, i.event_id, i.type, i.received_ms, i.via, coalesce(o.outcome, 'waiting'),
       coalesce(o.reason, i.reason), o.finished_ms, case when length(i.body) <= :most_bytes then i.body end
from hookline_inbox i
left join hookline_inbox_outcomes o on o.seq = i.seq
where i.seq > 0
order by i.seq desc
limit :limit
