-- Reads which secrets an endpoint has now.
select secret_enc, old_secret_enc from hookline_sender_endpoints where row_id = :row_id and deleted_ms is null
