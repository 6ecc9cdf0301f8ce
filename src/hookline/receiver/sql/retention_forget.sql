-- Forgets entries: an event of such an id would be taken for a new one from here on.
delete from hookline_inbox where seq in (select cast(value as bigint) from json_each(:seqs))
