-- Reads running deliveries whose lease has passed, longest lapsed first: whoever claimed them is gone or late.
select row_id, id, event_row, endpoint_row, origin, attempt, slots_used, unknown_attempts, next_kind, planned_ms, first_ms,
    updated_ms
from hookline_sender_deliveries
where state = 'running' and leased_until_ms <= :now_ms
order by leased_until_ms
limit :limit
