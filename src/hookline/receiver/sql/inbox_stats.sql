-- The inbox of one source, or of all, in numbers, as of one moment.
select
    (select count(*) from hookline_inbox i where (cast(:source as text) is null or i.source = :source)),
    (select count(*) from hookline_inbox_queue q join hookline_inbox i on i.seq = q.seq
        where (cast(:source as text) is null or i.source = :source)),
    (select min(i.received_ms) from hookline_inbox_queue q join hookline_inbox i on i.seq = q.seq
        where (cast(:source as text) is null or i.source = :source)),
    coalesce((select cast(sum(r.times) as bigint) from hookline_inbox_repeats r
        where (cast(:source as text) is null or r.source = :source) and r.kind = 'duplicate'), 0),
    coalesce((select cast(sum(r.times) as bigint) from hookline_inbox_repeats r
        where (cast(:source as text) is null or r.source = :source) and r.kind = 'conflict'), 0)
