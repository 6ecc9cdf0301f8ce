-- Adds a line to the audit trail.
insert into hookline_sender_audit (environment, at_ms, actor, action, object_id, detail)
values (:environment, :now_ms, :actor, :action, :object_id, :detail)
