-- Takes these events out of the feed.
delete from hookline_sender_feed where event_row in (select cast(value as bigint) from json_each(:event_rows))
