-- Notes which of two secrets endpoints take, and how their probes went; of one rotated or revoked since then nothing.
update hookline_sender_endpoints p
set signs_with_old = s.signs_with_old,
    probe_failures = s.probe_failures,
    probe_after_ms = s.probe_after_ms
from unnest /*columns*/ (
    cast(:row_id as bigint[]), cast(:secret_enc as text[]), cast(:signs_with_old as bigint[]),
    cast(:probe_failures as bigint[]), cast(:probe_after_ms as bigint[])
) as s (row_id, secret_enc, signs_with_old, probe_failures, probe_after_ms)
where p.row_id = s.row_id and p.secret_enc = s.secret_enc and p.old_secret_enc is not null
