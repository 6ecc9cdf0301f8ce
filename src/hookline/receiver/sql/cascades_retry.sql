-- Makes the walks due that wait after a failure, but for those that wait for this one.
update hookline_cascades set due_ms = 0 where due_ms > 0 and error <> :but
