-- Whether a link is good, without using it up.
select user_name from hookline_dashboard_links
where token_sha256 = :token_sha256 and kind = :kind and expires_ms > :now_ms
