-- Reads what became of entries by their places; those that still wait are not among the rows.
select seq, outcome, reason, finished_ms
from hookline_inbox_outcomes
where seq in (select cast(value as bigint) from json_each(:seqs))
