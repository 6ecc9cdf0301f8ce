-- Adds listings to a pass, each once.
insert into hookline_pass_scopes (pass_id, resource, scope_id, rank, directory_id, state)
values /*rows*/ (:pass_id, :resource, :scope_id, :rank, :directory_id, 'waiting')
on conflict do nothing
