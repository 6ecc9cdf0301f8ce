-- Uses a link up; whom it lets in comes back, of a link that was good.
delete from hookline_dashboard_links
where token_sha256 = :token_sha256 and kind = :kind and expires_ms > :now_ms
returning user_name, created_ms
