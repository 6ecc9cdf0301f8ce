-- Stores one more API key by its hash.
insert into hookline_sender_keys (key_hash, environment, id, name, hint, key_enc, created_ms)
values (:key_hash, :environment, :id, :name, :hint, :key_enc, :now_ms)
