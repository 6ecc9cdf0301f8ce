-- Finds another live organization of the environment that has an external id.
select id
from hookline_sender_organizations
where environment = :environment and external_id = :external_id and id <> :id and deleted_ms is null
