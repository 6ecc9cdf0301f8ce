-- Lets bodies go; id and hash stay, so that no event is ever taken twice.
update hookline_inbox set body = null where seq in (select cast(value as bigint) from json_each(:seqs))
