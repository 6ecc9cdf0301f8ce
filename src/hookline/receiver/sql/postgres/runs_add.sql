-- Makes a run for a handler and an entry, or a handler and a change, once.
insert into hookline_runs (handler, object_key, inbox_seq, change_seq, state, due_ms, created_ms)
select r.handler, r.object_key, r.inbox_seq, r.change_seq, 'pending', r.due_ms, r.created_ms
from unnest /*columns*/ (
    cast(:handler as text[]), cast(:object_key as text[]), cast(:inbox_seq as bigint[]), cast(:change_seq as bigint[]),
    cast(:now_ms as bigint[]), cast(:now_ms as bigint[])
) with ordinality as r (handler, object_key, inbox_seq, change_seq, due_ms, created_ms, place)
order by r.place
on conflict do nothing
