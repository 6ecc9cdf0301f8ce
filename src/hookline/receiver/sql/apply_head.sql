-- The entries that the next claim would take, and how often each was tried on its own.
select seq, attempt from hookline_inbox_queue where due_ms <= :now_ms order by due_ms, seq limit :limit
