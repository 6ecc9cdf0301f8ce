-- Makes runs due that were made while the clock stood ahead, or that wait longer than any run does: the clock went back.
update hookline_runs set due_ms = :now_ms
where state = 'pending' and (due_ms > :longest_ms or due_ms > :ahead_ms and created_ms > :ahead_ms)
