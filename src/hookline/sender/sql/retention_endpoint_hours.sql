-- Removes what was counted before a time.
delete from hookline_sender_endpoint_hours where hour_ms < :cutoff_ms
