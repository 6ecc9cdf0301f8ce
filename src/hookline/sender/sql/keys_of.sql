-- Reads all stored API keys of an environment, revoked ones too, in the order they were made.
select key_hash, environment, id, name, hint, key_enc, created_ms, last_used_ms, revoked_ms
from hookline_sender_keys
where environment = :environment
order by created_ms, id
