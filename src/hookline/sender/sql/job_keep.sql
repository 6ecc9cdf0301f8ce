-- Keeps how far a job came and when it goes on.
update hookline_sender_jobs
set detail = :detail, due_ms = :due_ms, failures = :failures
where row_id = :row_id
