-- Forgets refusals of long ago.
delete from hookline_rejections where source = :source and minute_ms < :before_ms
