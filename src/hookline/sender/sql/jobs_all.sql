-- Reads the jobs there are, those due first.
select kind, subject, detail, due_ms, failures
from hookline_sender_jobs
where due_ms >= 0
order by due_ms
limit :limit
