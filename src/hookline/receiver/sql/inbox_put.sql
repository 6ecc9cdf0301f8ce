-- Keeps each (source, event_id) once, the first one there; a number comes back for every entry this statement kept.
insert into hookline_inbox (
    source, event_id, sha256, type, body, signed_ms, received_ms, reason, traceparent, redacted, via, object_sequence
)
values /*rows*/ (
    :source, :event_id, :sha256, :type, :body, :signed_ms, :received_ms, :reason, :traceparent, :redacted,
    :via, :object_sequence
)
on conflict (source, event_id) do nothing
returning seq
