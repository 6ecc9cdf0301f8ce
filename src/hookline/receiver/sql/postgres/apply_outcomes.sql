-- Notes what became of entries; the last word stays, but applying one again to no effect takes nothing back.
insert into hookline_inbox_outcomes (seq, outcome, reason, finished_ms)
select * from unnest /*columns*/ (
    cast(:seq as bigint[]), cast(:outcome as text[]), cast(:reason as text[]), cast(:finished_ms as bigint[])
)
on conflict (seq) do update set
    outcome = excluded.outcome, reason = excluded.reason, finished_ms = excluded.finished_ms
where excluded.outcome in ('applied', 'dead') or hookline_inbox_outcomes.outcome in ('dead', 'ignored')
