-- What was refused since a minute, newest first, with one sample each.
select source, reason, minute_ms, times, sample from hookline_rejections
where (cast(:source as text) is null or source = :source) and minute_ms >= :since_ms
order by minute_ms desc, source, reason limit :limit
