-- Keeps an endpoint's row as it is now, under its version; a version kept already is written over.
insert into hookline_sender_endpoint_versions
    (endpoint_row, version, from_ms, url, status, disabled_reason, paused_ms, deleted_ms, events)
select p.row_id, p.version, p.updated_ms, p.url, p.status, p.disabled_reason, p.paused_ms, p.deleted_ms, :events
from hookline_sender_endpoints p
where p.row_id = :row_id
on conflict (endpoint_row, version) do update
set from_ms = excluded.from_ms,
    url = excluded.url,
    status = excluded.status,
    disabled_reason = excluded.disabled_reason,
    paused_ms = excluded.paused_ms,
    deleted_ms = excluded.deleted_ms,
    events = excluded.events
