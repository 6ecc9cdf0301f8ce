-- Reads an environment's audit trail after a row, nearest first; null filters are open.
select row_id, environment, at_ms, actor, action, object_id, detail
from hookline_sender_audit
where environment = :environment and row_id > :cursor_row
    and (cast(:action as text) is null or action = :action)
    and (cast(:object_id as text) is null or object_id = :object_id)
order by row_id
limit :limit
