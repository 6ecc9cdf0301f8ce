-- Uses a link up; gives what it is for, nothing where it was used or has expired.
update hookline_dashboard_links
set used_ms = :now_ms
where token_hash = :token_hash and used_ms is null and expires_ms > :now_ms
returning kind, user_row
