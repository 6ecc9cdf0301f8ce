-- Records attempts, each once: what was recorded first stands.
insert into hookline_sender_attempts
    (delivery_row, number, kind, outcome, reason, status, started_ms, duration_ms, evidence)
select * from unnest /*columns*/ (
    cast(:delivery_row as bigint[]), cast(:number as bigint[]), cast(:kind as text[]), cast(:outcome as text[]),
    cast(:reason as text[]), cast(:status as bigint[]), cast(:started_ms as bigint[]), cast(:duration_ms as bigint[]),
    cast(:evidence as text[])
)
on conflict (delivery_row, number) do nothing
