-- The newest entries of a stretch of the inbox, newest first, each with what became of it and how often it came again.
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
    i.via, i.body is not null, i.redacted, {body}
from {tables}
where {filters}
order by {place} desc
limit :limit
