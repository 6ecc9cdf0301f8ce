-- Forgets the runs of entries that go.
delete from hookline_runs where row_id in (
    select r.row_id
    from hookline_handlers h cross join json_each(:seqs) s cross join hookline_runs r
    where r.handler = h.name and r.inbox_seq = cast(s.value as bigint)
)
