-- Reads the audit trail after a row, nearest first; null filters are open.
select row_id, at_ms, actor, action, object_id, detail, address
from hookline_dashboard_audit
where row_id > :cursor_row
    and (cast(:action as text) is null or action = :action)
    and (cast(:actor as text) is null or actor = :actor)
    and (cast(:object_id as text) is null or object_id = :object_id)
order by row_id
limit :limit
