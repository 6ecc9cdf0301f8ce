-- Ends a job.
delete from hookline_sender_jobs where kind = :kind and subject = :subject
