-- Removes what was counted before a time.
delete from hookline_sender_type_hours where environment = :environment and hour_ms < :cutoff_ms
