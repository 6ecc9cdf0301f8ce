-- Reads the hashes of all valid stored API keys.
select key_hash, environment from hookline_sender_keys where revoked_ms is null
