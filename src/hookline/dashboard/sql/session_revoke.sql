-- Ends one session by its id.
delete from hookline_dashboard_sessions where id = :id returning user_row
