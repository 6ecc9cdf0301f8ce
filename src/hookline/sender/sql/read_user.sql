-- Reads a user whose directory is there.
select u.id, u.environment, u.directory_id, u.idp_id, u.email, u.state, u.fields, u.created_ms, u.updated_ms,
    u.event_ms, u.sequence
from hookline_sender_directory_users u
join hookline_sender_directories d on d.id = u.directory_id and d.deleted_ms is null
where u.environment = :environment and u.id = :id
