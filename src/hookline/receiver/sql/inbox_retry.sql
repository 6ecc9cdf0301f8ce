-- Puts a dead entry whose body is whole back into the queue, handlers and all.
insert into hookline_inbox_queue (seq, due_ms)
select i.seq, :now_ms from hookline_inbox i join hookline_inbox_outcomes o on o.seq = i.seq
where i.source = :source and i.event_id = :event_id and o.outcome = 'dead'
    and i.body is not null and coalesce(i.redacted, '') <> 'people'
on conflict (seq) do nothing
