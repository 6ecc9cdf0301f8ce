-- Ends the session of a token.
delete from hookline_dashboard_sessions where token_hash = :token_hash returning user_row
