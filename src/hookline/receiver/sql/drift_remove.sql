-- Takes back differences that are none.
delete from hookline_drift where row_id in (select cast(value as integer) from json_each(:row_ids))
