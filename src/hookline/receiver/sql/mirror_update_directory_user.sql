-- Replaces rows that were read in this transaction and hang where they hung: their indexes need no writing.
insert into hookline_directory_users (
    source, id, directory_id, organization_id, idp_id, email, first_name, last_name, username,
    job_title, state, is_active, created_at, updated_at, payload, full_payload, reduced_payload,
    content_updated_us, content_us, content_event_id, life_us, life_event_id, death_us,
    death_event_id, stub_us, stub_event_id, reduced_updated_us, reduced_us, reduced_event_id, flags,
    announced_live, deleted_at
)
values /*rows*/ (
    :source, :id, :directory_id, :organization_id, :idp_id, :email, :first_name, :last_name,
    :username, :job_title, :state, :is_active, :created_at, :updated_at, :payload, :full_payload,
    :reduced_payload, :content_updated_us, :content_us, :content_event_id, :life_us, :life_event_id,
    :death_us, :death_event_id, :stub_us, :stub_event_id, :reduced_updated_us, :reduced_us,
    :reduced_event_id, :flags, :announced_live, :deleted_at
)
on conflict (source, id) do update set
    idp_id = excluded.idp_id,
    email = excluded.email,
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    username = excluded.username,
    job_title = excluded.job_title,
    state = excluded.state,
    is_active = excluded.is_active,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    payload = excluded.payload,
    full_payload = excluded.full_payload,
    reduced_payload = excluded.reduced_payload,
    content_updated_us = excluded.content_updated_us,
    content_us = excluded.content_us,
    content_event_id = excluded.content_event_id,
    life_us = excluded.life_us,
    life_event_id = excluded.life_event_id,
    death_us = excluded.death_us,
    death_event_id = excluded.death_event_id,
    stub_us = excluded.stub_us,
    stub_event_id = excluded.stub_event_id,
    reduced_updated_us = excluded.reduced_updated_us,
    reduced_us = excluded.reduced_us,
    reduced_event_id = excluded.reduced_event_id,
    flags = excluded.flags,
    announced_live = excluded.announced_live,
    deleted_at = excluded.deleted_at
