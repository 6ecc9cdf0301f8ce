-- One session ends, of this user.
delete from hookline_dashboard_sessions where id = :id and user_name = :user_name
