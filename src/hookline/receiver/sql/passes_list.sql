-- The newest passes of a source, or of all.
select row_id, source, kind, mode, directory_id, allow_mass_delete, state, reason, counts, asked_by, created_ms, started_us,
    updated_ms, finished_ms, due_ms, tries
from hookline_passes where cast(:source as text) is null or source = :source
order by row_id desc limit :limit
