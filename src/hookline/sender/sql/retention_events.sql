-- Empties these events' bodies; their ids stay known, and their places in the feed.
update hookline_sender_events
set body = :empty,
    pruned_ms = :now_ms,
    pruned_seq = (select f.seq from hookline_sender_feed f where f.event_row = hookline_sender_events.row_id)
where row_id in (select cast(value as bigint) from json_each(:event_rows)) and pruned_ms is null
