-- What somebody has said to ignore of any of these objects.
select object_id, kind, fields, note from hookline_drift
where source = :source and resource = :resource and state = 'ignored'
    and object_id in (select value from json_each(:ids))
order by row_id
