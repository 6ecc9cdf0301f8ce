-- Reads the place in an environment's feed before the first event published at a time or later, that retention has left.
select coalesce(max(seq), 0) from (
    select * from (
        select f.seq as seq
        from hookline_sender_feed f
        join hookline_sender_events e on e.row_id = f.event_row
        where f.environment = :environment and e.published_ms < :since_ms
        order by f.seq desc
        limit 1
    ) before
    union all
    select max(e.pruned_seq) from hookline_sender_events e where e.environment = :environment and e.pruned_seq is not null
) places
