-- Reads a directory's groups created before a place, nearest first.
select g.id, g.environment, g.directory_id, g.idp_id, g.name, g.created_ms, g.updated_ms, g.event_ms, g.sequence
from hookline_sender_directory_groups g
where g.directory_id = :directory_id and (g.created_ms, g.id) < (:created_ms, :id)
order by g.created_ms desc, g.id desc
limit :limit
