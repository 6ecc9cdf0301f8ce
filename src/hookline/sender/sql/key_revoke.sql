-- Revokes an API key once: it stays listed, without the sealed copy.
update hookline_sender_keys
set revoked_ms = :now_ms, key_enc = null
where environment = :environment and id = :id and revoked_ms is null
returning id
