-- An opened endpoint's backlog is held: its deliveries may be claimed. A row tells so; none where somebody is changing
-- the endpoint just now: who changes it may wait for the caller's job, so the caller must not wait for them.
update hookline_sender_endpoints
set hold_through_row = null
where row_id in (
    select p.row_id
    from hookline_sender_endpoints p
    where p.row_id = :row_id and p.hold_through_row is not null
    for update skip locked
)
returning row_id
