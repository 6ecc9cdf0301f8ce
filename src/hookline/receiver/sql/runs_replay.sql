-- Makes a run of a replay where there is none yet.
insert into hookline_runs (handler, object_key, inbox_seq, change_seq, state, due_ms, created_ms, replay_id)
values (:handler, :object_key, :inbox_seq, :change_seq, 'pending', :now_ms, :now_ms, :replay_id)
on conflict do nothing
