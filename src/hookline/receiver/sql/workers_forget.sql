-- Removes workers that nobody has seen since a moment, the one that was seen last excepted.
delete from hookline_workers
where seen_ms < :before_ms and seen_ms < (select max(w.seen_ms) from hookline_workers w)
