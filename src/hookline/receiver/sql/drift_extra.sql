-- Those of these objects that a pass found to be gone at the source.
select object_id from hookline_drift
where pass_id = :pass_id and resource = :resource and kind = 'extra'
    and object_id in (select value from json_each(:ids))
