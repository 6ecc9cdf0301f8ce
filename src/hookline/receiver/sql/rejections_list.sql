-- What was refused since a minute, newest first, with one sample each.
select reason, minute_ms, times, sample from hookline_rejections
where source = :source and minute_ms >= :since_ms
order by minute_ms desc, reason limit :limit
