-- What was refused since a minute, newest first, with one sample each, after a place in this order.
select source, reason, minute_ms, times, sample from hookline_rejections
where (cast(:source as text) is null or source = :source) and minute_ms >= :since_ms
    and minute_ms <= :before_ms and (minute_ms, source, reason) < (:before_ms, :before_source, :before_reason)
order by minute_ms desc, source desc, reason desc limit :limit
