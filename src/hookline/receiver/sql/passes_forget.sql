-- Forgets passes.
delete from hookline_passes where row_id in (select cast(value as integer) from json_each(:pass_ids))
