-- Reads the domains of organizations, oldest first.
select id, environment, organization_id, domain, state, verification_strategy, verification_prefix, verification_token,
    created_ms, updated_ms, event_ms, sequence
from hookline_sender_organization_domains
where organization_id in (select value from json_each(:organization_ids))
order by organization_id, created_ms, id
