-- Row and time of the event so many places down from a row, in its environment.
select row_id, published_ms
from hookline_sender_events
where environment = :environment and row_id < :before_row
order by row_id desc
limit 1 offset :offset
