-- An opened endpoint's backlog is held: its deliveries may be claimed. A row tells so.
update hookline_sender_endpoints
set hold_through_row = null
where row_id = :row_id and hold_through_row is not null
returning row_id
