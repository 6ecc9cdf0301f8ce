-- Reads the hashes and ids of all valid stored API keys.
select key_hash, environment, id from hookline_sender_keys where revoked_ms is null
