-- Every session of a user ends, but the one to be kept.
delete from hookline_dashboard_sessions where user_name = :user_name and id <> :kept_id
