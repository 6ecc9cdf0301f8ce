-- Forgets replays that were done long ago.
delete from hookline_replays where source = :source and finished_ms < :before_ms
