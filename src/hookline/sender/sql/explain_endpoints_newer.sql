-- Reads an environment's endpoints after a row that an event published at a time could concern: not deleted by then.
select row_id, id, url, created_ms
from hookline_sender_endpoints
where environment = :environment and row_id > :cursor_row and (deleted_ms is null or deleted_ms >= :at_ms)
order by row_id
limit :limit
