-- Tells whether another live endpoint of the environment has this URL.
select row_id
from hookline_sender_endpoints
where environment = :environment and url = :url and row_id <> :row_id and deleted_ms is null
