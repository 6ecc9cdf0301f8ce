-- Finds which of these domains other organizations of the environment have.
select domain
from hookline_sender_organization_domains
where environment = :environment
    and domain in (select value from json_each(:domains))
    and organization_id <> :organization_id
