-- What a listing showed, in order of the ids.
select object_id from hookline_pass_seen
where pass_id = :pass_id and resource = :resource and scope_id = :scope_id and object_id > :after
order by object_id limit :limit
