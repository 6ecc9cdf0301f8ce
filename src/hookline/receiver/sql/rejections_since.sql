-- Refusals of one source, or of all, by reason, from a minute on.
select reason, cast(sum(times) as bigint) from hookline_rejections
where (cast(:source as text) is null or source = :source) and minute_ms >= :since_ms
group by reason
