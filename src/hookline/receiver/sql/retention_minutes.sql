-- Forgets the counts of long ago.
delete from hookline_inbox_minutes where source = :source and minute_ms < :before_ms
