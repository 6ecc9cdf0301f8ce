-- Writes groups whole, over what was there. An idp_id that another group of the directory has fails the statement; one that
-- changes is a new row.
insert into hookline_sender_directory_groups
    (id, environment, directory_id, idp_id, name, created_ms, updated_ms, event_ms, sequence)
values
    /*rows*/ (:id, :environment, :directory_id, :idp_id, :name, :created_ms, :updated_ms, :event_ms, :sequence)
on conflict (id) do update set
    name = excluded.name,
    updated_ms = excluded.updated_ms,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence
