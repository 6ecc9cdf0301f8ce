-- Makes a run for a handler and an entry, or a handler and a change, once.
insert into hookline_runs (handler, object_key, inbox_seq, change_seq, state, due_ms, created_ms)
values /*rows*/ (:handler, :object_key, :inbox_seq, :change_seq, 'pending', :now_ms, :now_ms)
on conflict do nothing
