-- Settles open items: healed, or ignored with a note.
update hookline_drift set state = :state, note = :note, settled_ms = :now_ms
where row_id in (select cast(value as integer) from json_each(:row_ids)) and state = 'open'
