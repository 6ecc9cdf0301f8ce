-- Keeps two from changing who there is at once, until the commit.
lock table hookline_dashboard_users in share row exclusive mode
