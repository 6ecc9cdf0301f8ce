-- What the doors kept and refused, by step of time since a minute: of one source, or of all. A refusal is of the kind refused.
select m.minute_ms - m.minute_ms % :step_ms, m.kind, cast(sum(m.times) as bigint) from hookline_inbox_minutes m
where m.minute_ms >= :since_ms and m.minute_ms < :until_ms and (cast(:source as text) is null or m.source = :source)
group by 1, 2
union all
select r.minute_ms - r.minute_ms % :step_ms, 'refused', cast(sum(r.times) as bigint) from hookline_rejections r
where r.minute_ms >= :since_ms and r.minute_ms < :until_ms and (cast(:source as text) is null or r.source = :source)
group by 1
