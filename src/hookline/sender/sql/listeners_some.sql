-- Reads how these listeners stand now: session, secret, the last of what goes to them once more. Who was removed is
-- missing.
select l.row_id, l.session, l.secret_enc, coalesce((
    select max(r.row_id) from hookline_sender_listener_resends r where r.listener_row = l.row_id
), 0)
from hookline_sender_listeners l
where l.row_id in (select cast(value as bigint) from json_each(:listener_rows))
