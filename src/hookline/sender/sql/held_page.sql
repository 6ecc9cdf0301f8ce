-- Reads what is held for an endpoint before an event and a row, newest event first.
select row_id, event_row, created_ms
from hookline_sender_deliveries
where endpoint_row = :endpoint_row and state = 'held' and (event_row, row_id) < (:event_row, :row_id)
order by event_row desc, row_id desc
limit :limit
