-- Reads groups of a directory by their ids.
select id, environment, directory_id, idp_id, name, created_ms, updated_ms, event_ms, sequence
from hookline_sender_directory_groups
where id in (select value from json_each(:ids)) and directory_id = :directory_id
