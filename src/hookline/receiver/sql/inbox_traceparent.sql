-- The trace under which an event was kept, if under any.
select traceparent from hookline_inbox where source = :source and event_id = :event_id
