-- Puts a job where there is none of its kind and subject.
insert into hookline_sender_jobs (kind, subject, detail, due_ms)
values (:kind, :subject, :detail, :due_ms)
on conflict (kind, subject) do nothing
