-- The newest lines of the audit trail about one thing.
select row_id, environment, at_ms, actor, action, object_id, detail
from hookline_sender_audit
where environment = :environment and object_id = :object_id
order by row_id desc
limit 20
