-- Which object an event is about, so that the events of one are found and each can be held against the one before. Known
-- of events published from here on; those of before say nothing.
alter table hookline_sender_events add column object_id text;
create index hookline_sender_events_object on hookline_sender_events (environment, object_id, row_id)
    where object_id is not null;
create index hookline_sender_events_listed on hookline_sender_events (environment, row_id);

-- Who did what to one thing.
create index hookline_sender_audit_object on hookline_sender_audit (environment, object_id, row_id)
    where object_id is not null;
