-- Refusals of one source by reason, from a minute on.
select reason, cast(sum(times) as bigint) from hookline_rejections
where source = :source and minute_ms >= :since_ms
group by reason
