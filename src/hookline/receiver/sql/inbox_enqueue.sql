-- Makes kept entries due for applying, in the transaction that keeps them.
insert into hookline_inbox_queue (seq, due_ms)
select cast(value as bigint), :due_ms from json_each(:seqs)
