-- Reads a directory's users of one email address created before a place, nearest first.
select u.id, u.environment, u.directory_id, u.idp_id, u.email, u.state, u.fields, u.created_ms, u.updated_ms,
    u.event_ms, u.sequence
from hookline_sender_directory_users u
where u.directory_id = :directory_id and u.email = :email and (u.created_ms, u.id) < (:created_ms, :id)
order by u.created_ms desc, u.id desc
limit :limit
