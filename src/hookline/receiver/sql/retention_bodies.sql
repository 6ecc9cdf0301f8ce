-- The bodies that are to be cut.
select seq, body from hookline_inbox where seq in (select cast(value as bigint) from json_each(:seqs))
