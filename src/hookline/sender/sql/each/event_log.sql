-- The newest events of a stretch of rows that are wanted.
select e.row_id, e.id, e.type, e.origin, e.organization_id, e.object_id, e.created_ms, e.published_ms, e.pruned_ms
from hookline_sender_events e
where {filters} and e.row_id < :before_row and e.row_id >= :from_row
order by e.row_id desc
limit :limit
