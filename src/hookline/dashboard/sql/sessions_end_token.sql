-- The session of this token ends; whose it was comes back.
delete from hookline_dashboard_sessions where token_sha256 = :token_sha256 returning user_name
