-- No link to a user is good any more.
delete from hookline_dashboard_links where user_name = :user_name
