-- Reads what the named endpoints ask for, in name order.
select endpoint_row, event_type
from hookline_sender_subscriptions
where endpoint_row in (select cast(value as bigint) from json_each(:endpoint_rows))
order by endpoint_row, event_type
