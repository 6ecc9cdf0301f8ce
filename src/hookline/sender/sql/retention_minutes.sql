-- Removes what was counted before a time.
delete from hookline_sender_minutes where environment = :environment and minute_ms < :cutoff_ms
