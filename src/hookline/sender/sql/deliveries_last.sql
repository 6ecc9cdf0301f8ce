-- Reads the newest delivery's row.
select coalesce(max(row_id), 0) from hookline_sender_deliveries
