-- Reads everything that endpoints keep encrypted, deleted ones too: a new encryption key rewrites it all.
select row_id, secret_enc, old_secret_enc, headers_enc from hookline_sender_endpoints order by row_id
