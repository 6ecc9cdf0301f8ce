-- Adds deliveries; a second published delivery of one event to one endpoint fails the whole statement.
insert into hookline_sender_deliveries
    (id, environment, event_row, endpoint_row, origin, state, due_ms, reason, created_ms, updated_ms)
select * from unnest /*columns*/ (
    cast(:id as text[]), cast(:environment as text[]), cast(:event_row as bigint[]), cast(:endpoint_row as bigint[]),
    cast(:origin as text[]), cast(:state as text[]), cast(:due_ms as bigint[]), cast(:reason as text[]),
    cast(:now_ms as bigint[]), cast(:now_ms as bigint[])
)
