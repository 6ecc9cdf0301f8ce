-- Deletes an endpoint softly: its deliveries stay readable, its URL is free again, it matches nothing.
update hookline_sender_endpoints
set deleted_ms = :now_ms,
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where environment = :environment and id = :id and deleted_ms is null
returning row_id
