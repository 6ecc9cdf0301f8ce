-- Refusals of one source by reason, from a minute on.
select reason, sum(times) from hookline_rejections
where source = :source and minute_ms >= :since_ms
group by reason
