-- Tells when the next job is due.
select min(due_ms) from hookline_sender_jobs
