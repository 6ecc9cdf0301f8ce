-- The hours of some endpoints.
select endpoint_row, hour_ms, succeeded, failed, delivered, given_up, last_ms, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11
from hookline_sender_endpoint_hours
where endpoint_row in (select cast(value as bigint) from json_each(:endpoint_rows)) and hour_ms >= :since_ms
order by endpoint_row, hour_ms
