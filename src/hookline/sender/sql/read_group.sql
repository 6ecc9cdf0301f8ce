-- Reads a group whose directory is there.
select g.id, g.environment, g.directory_id, g.idp_id, g.name, g.created_ms, g.updated_ms, g.event_ms, g.sequence
from hookline_sender_directory_groups g
join hookline_sender_directories d on d.id = g.directory_id and d.deleted_ms is null
where g.environment = :environment and g.id = :id
