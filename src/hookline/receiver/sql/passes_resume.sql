-- Lets a pass that stopped, or waits for the source, go on at once; what it was allowed to delete is never taken back.
update hookline_passes set
    state = 'running', reason = null, due_ms = :now_ms, finished_ms = null, tries = 0,
    allow_mass_delete = case when :allow_mass_delete = 1 then 1 else allow_mass_delete end
where row_id = :row_id and state in ('running', 'stopped')
