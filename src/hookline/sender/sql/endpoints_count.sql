-- Counts an environment's live endpoints.
select count(*) from hookline_sender_endpoints where environment = :environment and deleted_ms is null
