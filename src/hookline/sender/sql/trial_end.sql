-- Gives trials back that decided nothing: the next delivery is tried.
update hookline_sender_endpoints
set trial_until_ms = null
where row_id in (select cast(value as bigint) from json_each(:endpoint_rows))
