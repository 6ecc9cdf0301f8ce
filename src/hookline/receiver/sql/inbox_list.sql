-- One page of entries, newest first, each with what became of it and how often it came again.
select i.seq, i.source, i.event_id, i.sha256, i.type, i.signed_ms, i.received_ms,
    coalesce(o.outcome, 'waiting'), coalesce(o.reason, i.reason), q.due_ms, coalesce(q.attempt, 0), o.finished_ms,
    coalesce((
        select cast(sum(r.times) as bigint) from hookline_inbox_repeats r
        where r.source = i.source and r.event_id = i.event_id and r.kind = 'duplicate'
    ), 0),
    coalesce((
        select cast(sum(r.times) as bigint) from hookline_inbox_repeats r
        where r.source = i.source and r.event_id = i.event_id and r.kind = 'conflict'
    ), 0),
    i.via, i.body is not null, i.redacted
from hookline_inbox i
left join hookline_inbox_queue q on q.seq = i.seq
left join hookline_inbox_outcomes o on o.seq = i.seq
where i.seq < :before_seq
    and (cast(:source as text) is null or i.source = :source)
    and (cast(:event_id as text) is null or i.event_id = :event_id)
    and (cast(:state as text) is null or coalesce(o.outcome, 'waiting') = :state)
order by i.seq desc
limit :limit
