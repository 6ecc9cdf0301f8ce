-- The newest rows before a number.
select row_id, at_ms, actor, action, object_id, detail, address
from hookline_dashboard_audit where row_id < :before_row order by row_id desc limit :limit
