-- Takes the oldest due entries out of the queue: done when this transaction commits, untouched when it does not. What
-- another worker is taking just now is passed over.
delete from hookline_inbox_queue
where seq = any (array(
    select seq from hookline_inbox_queue where due_ms <= :now_ms order by due_ms, seq limit :limit for update skip locked
))
returning seq, attempt
