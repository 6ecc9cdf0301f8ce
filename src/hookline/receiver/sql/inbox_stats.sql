-- The inbox of one source in numbers, as of one moment.
select
    (select count(*) from hookline_inbox where source = :source),
    (select count(*) from hookline_inbox_queue q join hookline_inbox i on i.seq = q.seq where i.source = :source),
    (select min(i.received_ms) from hookline_inbox_queue q join hookline_inbox i on i.seq = q.seq
        where i.source = :source),
    coalesce((select cast(sum(times) as bigint) from hookline_inbox_repeats where source = :source and kind = 'duplicate'), 0),
    coalesce((select cast(sum(times) as bigint) from hookline_inbox_repeats where source = :source and kind = 'conflict'), 0)
