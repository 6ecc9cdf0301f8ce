-- Puts a job, or begins one of the same kind and subject anew.
insert into hookline_sender_jobs (kind, subject, detail, due_ms)
values (:kind, :subject, :detail, :due_ms)
on conflict (kind, subject) do update
set detail = excluded.detail, due_ms = excluded.due_ms, failures = 0
