-- Gives trials back that decided nothing: the next delivery is tried.
update hookline_sender_endpoints
set trial_until_ms = null
where row_id in (select w.value from json_each(:endpoint_rows) w)
