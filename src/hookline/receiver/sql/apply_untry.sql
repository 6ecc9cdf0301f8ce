-- Takes back a try that the storage's being away ended, and no fault of the entry's.
update hookline_inbox_queue set attempt = attempt - 1, due_ms = :due_ms where seq = :seq and attempt > 0
