-- Reads the feed's newest place, of an environment the places that retention has emptied among them.
select max(seq) from (
    select max(f.seq) as seq from hookline_sender_feed f
    union all
    select max(e.pruned_seq) from hookline_sender_events e where e.environment = :environment and e.pruned_seq is not null
) places
