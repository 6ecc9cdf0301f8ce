-- Stores an API key by its hash where its environment has none that is valid: of two processes that start at
-- once, one makes the key.
insert into hookline_sender_keys (key_hash, environment, id, name, hint, key_enc, created_ms)
select :key_hash, :environment, :id, cast(:name as text), :hint, cast(:key_enc as text), :now_ms
where not exists (
    select 1 from hookline_sender_keys where environment = :environment and revoked_ms is null
)
returning key_hash
