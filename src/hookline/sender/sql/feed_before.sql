-- Reads the feed before a place, newest first; otherwise as feed_after.
select e.row_id, e.id, e.environment, e.type, e.organization_id, e.body, e.created_ms, e.published_ms
from hookline_sender_feed f
join hookline_sender_events e on e.row_id = f.event_row
where f.environment = :environment and f.seq < :seq
    and e.type in (select value from json_each(:types))
    and (cast(:organization_id as text) is null or e.organization_id = :organization_id)
    and (cast(:range_start_ms as bigint) is null or e.created_ms >= :range_start_ms)
    and (cast(:range_end_ms as bigint) is null or e.created_ms < :range_end_ms)
order by f.seq desc
limit :limit
