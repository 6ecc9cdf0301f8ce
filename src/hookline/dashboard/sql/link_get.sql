-- Reads a link that was not used and has not expired.
select kind, user_row
from hookline_dashboard_links
where token_hash = :token_hash and used_ms is null and expires_ms > :now_ms
