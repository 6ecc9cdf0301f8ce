-- Notes how far listeners came and what they answered; a place never goes back. Of one whose session is another by now
-- nothing is noted.
with s (row_id, session, place, answered, succeeded, is_open, now_ms)
as (
    values
        /*rows*/ (:row_id, :session, :place, :answered, :succeeded, :is_open, :now_ms)
)
update hookline_sender_listeners
set place = case when s.place > coalesce(hookline_sender_listeners.place, -1) then s.place
        else hookline_sender_listeners.place end,
    answered = hookline_sender_listeners.answered + s.answered,
    succeeded = hookline_sender_listeners.succeeded + s.succeeded,
    answered_ms = case when s.answered > 0 then s.now_ms else hookline_sender_listeners.answered_ms end,
    session = case when s.is_open = 1 then hookline_sender_listeners.session end,
    seen_ms = s.now_ms
from s
where hookline_sender_listeners.row_id = s.row_id and hookline_sender_listeners.session = s.session
