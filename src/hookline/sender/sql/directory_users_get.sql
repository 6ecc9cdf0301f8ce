-- Reads users of a directory by their ids.
select id, environment, directory_id, idp_id, email, state, fields, created_ms, updated_ms, event_ms, sequence
from hookline_sender_directory_users
where id in (select value from json_each(:ids)) and directory_id = :directory_id
