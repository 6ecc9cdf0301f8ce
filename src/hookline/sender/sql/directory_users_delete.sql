-- Removes users. Their memberships are none from then on, and go later.
delete from hookline_sender_directory_users where id in (select value from json_each(:ids))
