-- Tells whether an event after a place in the feed, one that was asked for, has been pruned since.
select e.row_id
from hookline_sender_events e
where e.environment = :environment and e.pruned_seq > :seq
    and e.type in (select value from json_each(:types))
    and (cast(:organization_id as text) is null or e.organization_id = :organization_id)
    and (cast(:range_start_ms as bigint) is null or e.created_ms >= :range_start_ms)
    and (cast(:range_end_ms as bigint) is null or e.created_ms < :range_end_ms)
limit 1
