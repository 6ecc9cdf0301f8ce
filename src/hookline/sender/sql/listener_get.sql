-- Finds a listener by its name.
select row_id, environment, name, secret_enc, events, place, session, seen_ms, answered, succeeded, answered_ms, created_ms
from hookline_sender_listeners
where environment = :environment and name = :name
