-- Counts a replay's deliveries that are due and wait, up to a number.
select count(*) from (
    select 1
    from hookline_sender_deliveries
    where replay_row = :replay_row and state = 'pending' and due_ms <= :now_ms
    limit :most
) w
