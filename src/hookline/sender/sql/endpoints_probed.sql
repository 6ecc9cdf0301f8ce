-- Notes which of two secrets endpoints take, and how their probes went; of one rotated or revoked since then nothing.
with s (row_id, secret_enc, signs_with_old, probe_failures, probe_after_ms)
as (
    values
        /*rows*/ (:row_id, :secret_enc, :signs_with_old, :probe_failures, :probe_after_ms)
)
update hookline_sender_endpoints
set signs_with_old = s.signs_with_old,
    probe_failures = s.probe_failures,
    probe_after_ms = s.probe_after_ms
from s
where hookline_sender_endpoints.row_id = s.row_id
    and hookline_sender_endpoints.secret_enc = s.secret_enc
    and hookline_sender_endpoints.old_secret_enc is not null
