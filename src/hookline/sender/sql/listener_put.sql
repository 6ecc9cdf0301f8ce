-- Adds a listener, or gives the one of that name a new session, which takes the place of the one it had. A session or a
-- list of events that is null leaves what is there.
insert into hookline_sender_listeners (environment, name, secret_enc, events, session, seen_ms, created_ms)
values (:environment, :name, :secret_enc, coalesce(cast(:events as text), '[]'), cast(:session as text),
    case when cast(:session as text) is null then null else cast(:now_ms as bigint) end, :now_ms)
on conflict (environment, name) do update set
    events = coalesce(cast(:events as text), hookline_sender_listeners.events),
    session = coalesce(excluded.session, hookline_sender_listeners.session),
    seen_ms = coalesce(excluded.seen_ms, hookline_sender_listeners.seen_ms)
