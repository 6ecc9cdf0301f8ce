-- Reads an environment's listeners by name: there are at most as many as may be made.
select row_id, environment, name, secret_enc, events, place, session, seen_ms, answered, succeeded, answered_ms, created_ms
from hookline_sender_listeners
where environment = :environment
order by name
