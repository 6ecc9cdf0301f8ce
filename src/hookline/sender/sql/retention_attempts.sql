-- Removes the attempts of these events' deliveries that ended before a time.
delete from hookline_sender_attempts
where delivery_row in (
    select d.row_id
    from hookline_sender_deliveries d
    where d.event_row in (select cast(value as bigint) from json_each(:event_rows))
        and d.state in ('succeeded', 'failed', 'canceled')
        and d.updated_ms < :cutoff_ms
)
