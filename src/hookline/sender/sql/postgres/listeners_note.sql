-- Notes how far listeners came and what they answered; a place never goes back. Of one whose session is another by now
-- nothing is noted.
update hookline_sender_listeners p
set place = case when s.place > coalesce(p.place, -1) then s.place else p.place end,
    answered = p.answered + s.answered,
    succeeded = p.succeeded + s.succeeded,
    answered_ms = case when s.answered > 0 then s.now_ms else p.answered_ms end,
    session = case when s.is_open = 1 then p.session end,
    seen_ms = s.now_ms
from unnest /*columns*/ (
    cast(:row_id as bigint[]), cast(:session as text[]), cast(:place as bigint[]), cast(:answered as bigint[]),
    cast(:succeeded as bigint[]), cast(:is_open as bigint[]), cast(:now_ms as bigint[])
) as s (row_id, session, place, answered, succeeded, is_open, now_ms)
where p.row_id = s.row_id and p.session = s.session
