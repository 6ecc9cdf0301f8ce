-- Takes the job that has been due longest, until the end of the transaction: whoever comes meanwhile takes another.
update hookline_sender_jobs
set failures = failures
where row_id = (
    select j.row_id
    from hookline_sender_jobs j
    where j.due_ms <= :now_ms
    order by j.due_ms
    limit 1
    for update skip locked
)
returning row_id, kind, subject, detail, failures
