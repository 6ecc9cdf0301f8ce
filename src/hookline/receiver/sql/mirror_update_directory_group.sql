-- Replaces rows that were read in this transaction and hang where they hung: their indexes need no writing.
insert into hookline_directory_groups (
    source, id, directory_id, organization_id, idp_id, name, created_at, updated_at, payload,
    full_payload, reduced_payload, content_updated_us, content_us, content_event_id, life_us,
    life_event_id, death_us, death_event_id, stub_us, stub_event_id, reduced_updated_us, reduced_us,
    reduced_event_id, flags, announced_live, deleted_at
)
values /*rows*/ (
    :source, :id, :directory_id, :organization_id, :idp_id, :name, :created_at, :updated_at,
    :payload, :full_payload, :reduced_payload, :content_updated_us, :content_us, :content_event_id,
    :life_us, :life_event_id, :death_us, :death_event_id, :stub_us, :stub_event_id,
    :reduced_updated_us, :reduced_us, :reduced_event_id, :flags, :announced_live, :deleted_at
)
on conflict (source, id) do update set
    idp_id = excluded.idp_id,
    name = excluded.name,
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
