-- Reads an environment's directories created before a place, null filters open, nearest first.
select d.id, d.environment, d.organization_id, d.name, d.type, d.state, d.domain, d.external_key, d.inactive_flow,
    d.created_ms, d.updated_ms, d.event_ms, d.sequence, d.deleted_ms
from hookline_sender_directories d
where d.environment = :environment and d.deleted_ms is null and (d.created_ms, d.id) < (:created_ms, :id)
    and (cast(:name_pattern as text) is null or lower(d.name) like lower(:name_pattern) escape '!')
    and (cast(:domain as text) is null or d.domain = :domain)
order by d.created_ms desc, d.id desc
limit :limit
