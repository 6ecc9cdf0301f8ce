-- Adds what waits for an answer of the source and is no difference yet.
insert into hookline_drift (pass_id, source, resource, object_id, scope_id, kind, evidence, state, found_ms)
select :pass_id, r.source, r.resource, r.object_id, '', 'uncertain', '{}', 'checked', :now_ms
from hookline_refetches r
where r.source = :source
on conflict do nothing
