-- The bodies of these entries that are no larger than so many bytes.
select i.seq, i.event_id, i.type, i.body, i.received_ms from hookline_inbox i
where i.seq in (select cast(value as integer) from json_each(:seqs)) and length(i.body) <= :most
