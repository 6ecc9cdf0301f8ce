-- Adds whole rows; one that somebody else added meanwhile fails the statement, and the batch is rerun.
insert into hookline_directories (
    source, id, organization_id, name, type, state, external_key, created_at, updated_at, payload,
    full_payload, reduced_payload, content_updated_us, content_us, content_event_id, life_us,
    life_event_id, death_us, death_event_id, stub_us, stub_event_id, reduced_updated_us, reduced_us,
    reduced_event_id, flags, announced_live, deleted_at
)
values /*rows*/ (
    :source, :id, :organization_id, :name, :type, :state, :external_key, :created_at, :updated_at,
    :payload, :full_payload, :reduced_payload, :content_updated_us, :content_us, :content_event_id,
    :life_us, :life_event_id, :death_us, :death_event_id, :stub_us, :stub_event_id,
    :reduced_updated_us, :reduced_us, :reduced_event_id, :flags, :announced_live, :deleted_at
)
