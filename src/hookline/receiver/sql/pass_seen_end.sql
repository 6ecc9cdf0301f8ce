-- Forgets all that passes saw.
delete from hookline_pass_seen where pass_id in (select cast(value as integer) from json_each(:pass_ids))
