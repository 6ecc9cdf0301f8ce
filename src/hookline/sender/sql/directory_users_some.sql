-- Reads the ids of some users of a directory.
select id from hookline_sender_directory_users where directory_id = :directory_id limit :limit
