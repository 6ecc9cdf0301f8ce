-- Forgets changes.
delete from hookline_changes where seq in (select cast(value as bigint) from json_each(:seqs))
