-- Keeps how far a replay came, while it is still wanted: one that was canceled meanwhile stays so.
update hookline_sender_replays
set state = :state,
    made = :made,
    skipped = :skipped,
    position = :position,
    updated_ms = :now_ms,
    finished_ms = cast(:finished_ms as bigint)
where row_id = :row_id and state = 'pending'
returning row_id
