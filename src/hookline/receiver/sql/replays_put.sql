-- Starts a replay of what is there now.
insert into hookline_replays (source, mode, handler, selection, last_entry_seq, created_ms)
values (:source, :mode, :handler, :selection, coalesce((select max(seq) from hookline_inbox), 0), :now_ms)
returning row_id
