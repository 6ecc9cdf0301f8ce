-- Reads the ids of some groups of a directory.
select id from hookline_sender_directory_groups where directory_id = :directory_id limit :limit
