-- Reads what waits for an endpoint up to a row, after a due time and a row, due first first. The unary plus keeps to
-- the index of what waits, which knows no rows.
select row_id, event_row, created_ms, due_ms
from hookline_sender_deliveries
where endpoint_row = :endpoint_row and state = 'pending' and +row_id <= :through_row
    and (due_ms, row_id) > (:after_ms, :after_row)
order by due_ms, row_id
limit :limit
