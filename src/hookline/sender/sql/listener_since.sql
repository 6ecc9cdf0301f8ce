-- Reads the place in an environment's feed before the first event published at a time or later, that retention has left;
-- the last place where there is none. An app's own transaction may have events published later in the feed earlier.
select coalesce(max(seq), 0) from (
    select coalesce((
        select min(f.seq) - 1
        from hookline_sender_events e
        join hookline_sender_feed f on f.event_row = e.row_id
        where e.environment = :environment and e.pruned_ms is null and e.published_ms >= :since_ms
    ), (
        select max(f.seq) from hookline_sender_feed f where f.environment = :environment
    )) as seq
    union all
    select max(e.pruned_seq) from hookline_sender_events e where e.environment = :environment and e.pruned_seq is not null
) places
