-- Removes idempotency keys taken before a time, so many at a time.
delete from hookline_sender_idempotency
where (environment, idempotency_key) in (
    select i.environment, i.idempotency_key
    from hookline_sender_idempotency i
    where i.created_ms < :cutoff_ms
    order by i.created_ms
    limit :limit
)
