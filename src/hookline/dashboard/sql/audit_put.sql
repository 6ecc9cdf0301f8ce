-- Adds a line to the audit trail.
insert into hookline_dashboard_audit (at_ms, actor, action, object_id, detail, address)
values (:now_ms, :actor, :action, :object_id, :detail, :address)
