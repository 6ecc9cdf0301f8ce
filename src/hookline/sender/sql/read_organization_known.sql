-- Tells whether an organization is or was there, or a kept event names it.
select 1 from hookline_sender_organizations where environment = :environment and id = :id
union all
select 1 from hookline_sender_events where environment = :environment and organization_id = :id
limit 1
