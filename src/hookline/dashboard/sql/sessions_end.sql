-- Ends every session of a user.
delete from hookline_dashboard_sessions where user_row = :user_row
