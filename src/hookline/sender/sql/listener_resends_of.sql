-- Reads what is to go to a listener once more, oldest first.
select r.row_id, r.event_row
from hookline_sender_listener_resends r
where r.listener_row = :listener_row and r.row_id > :after
order by r.row_id
limit :limit
