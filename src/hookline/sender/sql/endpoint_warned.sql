-- Notes a warning given about a failing endpoint; gives no row where it was given already, be it by another process.
update hookline_sender_endpoints
set failing_warned = :warned
where row_id = :row_id and failing_warned < :warned
returning row_id
