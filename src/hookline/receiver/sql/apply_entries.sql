-- What was received under these places of the inbox, in order of arrival.
select seq, source, event_id, type, body, reason, received_ms, traceparent, redacted, object_sequence
from hookline_inbox
where seq in (select cast(value as bigint) from json_each(:seqs))
order by seq
