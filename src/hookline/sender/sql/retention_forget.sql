-- Removes pruned events for good: their ids may come again.
delete from hookline_sender_events where row_id in (select cast(value as bigint) from json_each(:event_rows)) and pruned_ms is not null
