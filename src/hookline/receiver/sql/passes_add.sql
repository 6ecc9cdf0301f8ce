-- A new pass, running; its number comes back.
insert into hookline_passes (
    source, kind, mode, directory_id, allow_mass_delete, state, asked_by, created_ms, updated_ms, due_ms
)
values (
    :source, :kind, :mode, :directory_id, :allow_mass_delete, 'running', :asked_by, :now_ms, :now_ms, :now_ms
)
returning row_id
