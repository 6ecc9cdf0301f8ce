-- Takes back a try that the storage's being away ended, and no fault of the entry's; unless its lease has passed meanwhile
-- and another worker tries it.
update hookline_inbox_queue set attempt = attempt - 1, due_ms = :due_ms
where seq = :seq and due_ms = :leased_until_ms and attempt > 0
