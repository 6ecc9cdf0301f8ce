-- The rows of these ids: parents, payloads, clocks, what was announced.
select
    id, directory_id, organization_id, payload, full_payload, reduced_payload, content_updated_us,
    content_us, content_event_id, life_us, life_event_id, death_us, death_event_id, stub_us,
    stub_event_id, reduced_updated_us, reduced_us, reduced_event_id, flags, announced_live
from hookline_directory_users
where source = :source and id in (select value from json_each(:ids))
