-- Writes what an endpoint keeps encrypted anew; what it says is the same, so no version is counted.
update hookline_sender_endpoints
set secret_enc = :secret_enc,
    old_secret_enc = :old_secret_enc,
    headers_enc = :headers_enc
where row_id = :row_id
