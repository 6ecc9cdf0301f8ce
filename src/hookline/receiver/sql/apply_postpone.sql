-- Lets an entry wait until a later time.
update hookline_inbox_queue set due_ms = :due_ms where seq = :seq
