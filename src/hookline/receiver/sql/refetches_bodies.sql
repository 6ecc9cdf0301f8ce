-- The events of these ids that are still kept.
select event_id, body from hookline_inbox
where source = :source and event_id in (select value from json_each(:event_ids)) and body is not null
