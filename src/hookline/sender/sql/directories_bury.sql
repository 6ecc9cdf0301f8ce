-- Deletes the live directories of an organization that is deleted; gives their ids.
update hookline_sender_directories
set deleted_ms = :now_ms
where organization_id = :organization_id and deleted_ms is null
returning id
