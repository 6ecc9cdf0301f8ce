-- Ends endpoints' times of failing, and their being half open.
update hookline_sender_endpoints
set failing_since_ms = null,
    failing_attempts = 0,
    failing_warned = 0,
    is_half_open = 0,
    trial_until_ms = null
where row_id in (select cast(value as bigint) from json_each(:endpoint_rows))
