-- Keeps two processes that start at once from making a key each, until the commit.
lock table hookline_sender_keys in share row exclusive mode
