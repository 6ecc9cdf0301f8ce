-- Takes a replay that is not finished for this transaction: one batch of it at a time.
update hookline_replays set entries = entries where row_id = :row_id and finished_ms is null
