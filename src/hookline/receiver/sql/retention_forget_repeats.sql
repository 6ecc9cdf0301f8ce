-- Forgets how often ids came again.
delete from hookline_inbox_repeats
where source = :source and event_id in (select value from json_each(:event_ids))
