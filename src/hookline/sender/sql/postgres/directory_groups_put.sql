-- Writes groups whole, over what was there. An idp_id that another group of the directory has fails the statement; one that
-- changes is a new row.
insert into hookline_sender_directory_groups
    (id, environment, directory_id, idp_id, name, created_ms, updated_ms, event_ms, sequence)
select * from unnest /*columns*/ (
    cast(:id as text[]),
    cast(:environment as text[]),
    cast(:directory_id as text[]),
    cast(:idp_id as text[]),
    cast(:name as text[]),
    cast(:created_ms as bigint[]),
    cast(:updated_ms as bigint[]),
    cast(:event_ms as bigint[]),
    cast(:sequence as bigint[])
)
on conflict (id) do update set
    name = excluded.name,
    updated_ms = excluded.updated_ms,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence
