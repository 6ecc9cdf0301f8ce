-- Writes users whole, over what was there. An idp_id that another user of the directory has fails the statement; one that
-- changes is a new row.
insert into hookline_sender_directory_users
    (id, environment, directory_id, idp_id, email, state, fields, created_ms, updated_ms, event_ms, sequence)
values
    /*rows*/ (:id, :environment, :directory_id, :idp_id, :email, :state, :fields, :created_ms, :updated_ms, :event_ms, :sequence)
on conflict (id) do update set
    email = excluded.email,
    state = excluded.state,
    fields = excluded.fields,
    updated_ms = excluded.updated_ms,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence
