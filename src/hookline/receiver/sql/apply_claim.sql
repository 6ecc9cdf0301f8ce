-- Takes the oldest due entries out of the queue: done when this transaction commits, untouched when it does not.
delete from hookline_inbox_queue
where seq in (select seq from hookline_inbox_queue where due_ms <= :now_ms order by due_ms, seq limit :limit)
returning seq, attempt
