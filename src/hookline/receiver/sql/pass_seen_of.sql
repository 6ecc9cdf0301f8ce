-- Those of these ids that a listing showed.
select object_id from hookline_pass_seen
where pass_id = :pass_id and resource = :resource and scope_id = :scope_id
    and object_id in (select value from json_each(:ids))
