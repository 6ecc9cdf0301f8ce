-- Forgets refusals of long ago, also those at paths of no source.
delete from hookline_rejections where source in (:source, '') and minute_ms < :before_ms
