-- Reads every endpoint's encrypted secret, deleted ones too: a new encryption key rewrites them all.
select row_id, secret_enc from hookline_sender_endpoints order by row_id
