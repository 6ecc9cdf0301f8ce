-- Notes how far a replay has come, in the transaction that did it.
update hookline_replays set
    entry_seq = :entry_seq, change_seq = :change_seq, last_change_seq = :last_change_seq,
    entries = entries + :entries, runs = runs + :runs, failed = failed + :failed, gone = gone + :gone,
    finished_ms = :finished_ms
where row_id = :row_id
