-- Cancels what still waits of a canceled replay, so many at a time.
update hookline_sender_deliveries
set state = 'canceled', due_ms = null, reason = 'replay_canceled', updated_ms = :now_ms
where row_id in (
    select d.row_id
    from hookline_sender_deliveries d
    where d.replay_row = :replay_row and d.state in ('pending', 'held')
    limit :limit
) and state in ('pending', 'held')
