-- Keeps each (source, event_id) once, the first one there; a number comes back for every entry this statement kept.
insert into hookline_inbox (
    source, event_id, sha256, type, body, signed_ms, received_ms, reason, traceparent, redacted, via, object_sequence
)
select
    r.source, r.event_id, r.sha256, r.type, r.body, r.signed_ms, r.received_ms, r.reason, r.traceparent, r.redacted,
    r.via, r.object_sequence
from unnest /*columns*/ (
    cast(:source as text[]), cast(:event_id as text[]), cast(:sha256 as bytea[]), cast(:type as text[]),
    cast(:body as bytea[]), cast(:signed_ms as bigint[]), cast(:received_ms as bigint[]), cast(:reason as text[]),
    cast(:traceparent as text[]), cast(:redacted as text[]), cast(:via as text[]),
    cast(:object_sequence as bigint[])
) with ordinality as r (
    source, event_id, sha256, type, body, signed_ms, received_ms, reason, traceparent, redacted, via, object_sequence,
    place
)
order by r.place
on conflict (source, event_id) do nothing
returning seq
