-- Forgets what passes found, but for what somebody has ignored.
delete from hookline_drift
where pass_id in (select cast(value as integer) from json_each(:pass_ids)) and state <> 'ignored'
