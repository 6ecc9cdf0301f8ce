-- Notes what a page showed; only what the listing had not shown before comes back.
insert into hookline_pass_seen (pass_id, resource, scope_id, object_id)
values /*rows*/ (:pass_id, :resource, :scope_id, :object_id)
on conflict do nothing
returning object_id
