-- Removes these events' deliveries that ended before a time; their attempts went before them.
delete from hookline_sender_deliveries
where event_row in (select cast(value as bigint) from json_each(:event_rows))
    and state in ('succeeded', 'failed', 'canceled')
    and updated_ms < :cutoff_ms
