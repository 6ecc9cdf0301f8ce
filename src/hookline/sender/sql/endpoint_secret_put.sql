-- Writes an endpoint's secret encrypted anew; the secret itself is the same, so no version is counted.
update hookline_sender_endpoints set secret_enc = :secret_enc where row_id = :row_id
