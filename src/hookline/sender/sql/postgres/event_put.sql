-- Adds events; their ids are new by construction, so a repeated id fails the whole statement.
insert into hookline_sender_events
    (id, environment, type, organization_id, body, created_ms, published_ms, origin, traceparent,
        object_sequence, object_id)
select * from unnest /*columns*/ (
    cast(:id as text[]), cast(:environment as text[]), cast(:type as text[]), cast(:organization_id as text[]),
    cast(:body as bytea[]), cast(:created_ms as bigint[]), cast(:now_ms as bigint[]),
    cast(:origin as text[]), cast(:traceparent as text[]), cast(:object_sequence as bigint[]),
    cast(:object_id as text[])
)
returning row_id, id
