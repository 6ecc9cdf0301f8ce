-- The oldest running pass of a source.
select row_id, source, kind, mode, directory_id, allow_mass_delete, state, reason, counts, asked_by, created_ms, started_us,
    updated_ms, finished_ms, due_ms, tries
from hookline_passes where source = :source and state = 'running'
order by row_id limit 1
