-- Lets the later runs of a pair that waits for a retry be due with it, so that claims need not pass over them.
update hookline_runs set due_ms = :due_ms
where handler = :handler and object_key = :object_key and change_seq > :change_seq
    and state in ('pending', 'running') and state = 'pending' and due_ms < :due_ms
