-- One pass, whatever its state.
select row_id, source, kind, mode, directory_id, allow_mass_delete, state, reason, counts, asked_by, created_ms, started_us,
    updated_ms, finished_ms, due_ms, tries
from hookline_passes where row_id = :row_id
