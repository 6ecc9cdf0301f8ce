-- Counts what waits for an endpoint, by index alone.
select count(*) from hookline_sender_deliveries where endpoint_row = :endpoint_row and state = 'pending'
