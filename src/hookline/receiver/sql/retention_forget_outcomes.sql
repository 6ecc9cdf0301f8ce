-- Forgets what became of entries.
delete from hookline_inbox_outcomes where seq in (select cast(value as bigint) from json_each(:seqs))
