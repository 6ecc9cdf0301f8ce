-- A person gives a dead entry up: it is ignored from now on, with their note, unless it waits to be applied again.
update hookline_inbox_outcomes set outcome = 'ignored', reason = :reason
where outcome = 'dead'
    and seq = (select i.seq from hookline_inbox i where i.source = :source and i.event_id = :event_id)
    and not exists (select 1 from hookline_inbox_queue q where q.seq = hookline_inbox_outcomes.seq)
