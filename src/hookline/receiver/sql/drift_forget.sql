-- Forgets what passes found, but for the newest of each object that somebody has said to ignore.
delete from hookline_drift
where pass_id in (select cast(value as integer) from json_each(:pass_ids))
    and (state <> 'ignored' or exists (
        select 1 from hookline_drift n
        where n.source = hookline_drift.source and n.resource = hookline_drift.resource
            and n.object_id = hookline_drift.object_id and n.state = 'ignored' and n.row_id > hookline_drift.row_id
    ))
