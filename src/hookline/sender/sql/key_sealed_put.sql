-- Writes an API key encrypted anew.
update hookline_sender_keys set key_enc = :key_enc where key_hash = :key_hash
