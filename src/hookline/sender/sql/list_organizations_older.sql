-- Reads an environment's organizations created before a place, nearest first; domains is a JSON list, null filters are open.
select o.id, o.environment, o.name, o.external_id, o.metadata, o.created_ms, o.updated_ms, o.event_ms, o.sequence,
    o.deleted_ms
from hookline_sender_organizations o
where o.environment = :environment and o.deleted_ms is null and (o.created_ms, o.id) < (:created_ms, :id)
    and (cast(:name_pattern as text) is null or lower(o.name) like lower(:name_pattern) escape '!')
    and (cast(:domains as text) is null or exists (
        select 1 from hookline_sender_organization_domains n
        where n.organization_id = o.id and n.domain in (select value from json_each(:domains))
    ))
order by o.created_ms desc, o.id desc
limit :limit
