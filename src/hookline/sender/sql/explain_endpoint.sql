-- Reads one endpoint of an environment, deleted or not, as an explanation names it.
select row_id, id, url, created_ms from hookline_sender_endpoints where environment = :environment and id = :id
