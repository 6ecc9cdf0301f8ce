-- Removes replays that were done before a time and have no delivery left, so many at a time.
delete from hookline_sender_replays
where row_id in (
    select r.row_id from hookline_sender_replays r
    where r.finished_ms is not null and r.finished_ms < :cutoff_ms
        and not exists (select 1 from hookline_sender_deliveries d where d.replay_row = r.row_id)
    order by r.finished_ms
    limit :limit
)
