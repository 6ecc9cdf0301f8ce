-- Finds the last event's row.
select max(row_id) from hookline_sender_events
