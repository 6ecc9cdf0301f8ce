-- Notes when an API key was used last; an older time changes nothing.
update hookline_sender_keys
set last_used_ms = :used_ms
where key_hash = :key_hash and (last_used_ms is null or last_used_ms < :used_ms)
