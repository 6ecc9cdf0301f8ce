-- The newest replays.
select row_id, source, mode, handler, selection, last_entry_seq, last_change_seq, entry_seq, change_seq,
    entries, runs, failed, gone, created_ms, finished_ms
from hookline_replays where row_id < :before_row order by row_id desc limit :limit
