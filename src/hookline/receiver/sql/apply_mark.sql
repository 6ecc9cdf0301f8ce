-- Notes, before anything is tried, that these entries are about to be: what stops the process leaves this mark.
update hookline_inbox_queue set attempt = 1
where attempt = 0 and seq in (select cast(value as bigint) from json_each(:seqs))
