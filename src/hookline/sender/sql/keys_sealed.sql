-- Reads every API key that is kept encrypted: a new encryption key rewrites them all.
select key_hash, key_enc from hookline_sender_keys where key_enc is not null order by key_hash
