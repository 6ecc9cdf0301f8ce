-- Makes the walks due that wait after a failure.
update hookline_cascades set due_ms = 0 where due_ms > 0
