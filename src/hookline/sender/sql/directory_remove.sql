-- Removes what is left of a deleted directory.
delete from hookline_sender_directories where id = :id and deleted_ms is not null
