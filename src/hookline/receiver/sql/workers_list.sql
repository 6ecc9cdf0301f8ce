-- Every worker that is remembered, the one that was seen last first.
select name, handlers, started_ms, seen_ms, stopped_ms from hookline_workers order by seen_ms desc, name
