-- Forgets what a listing showed.
delete from hookline_pass_seen where pass_id = :pass_id and resource = :resource and scope_id = :scope_id
