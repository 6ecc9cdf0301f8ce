-- As the common view, with PostgreSQL's functions for JSON.
create view hookline_organization_domains_live as
select
    r.source, r.id, r.organization_id, r.domain, r.state, r.verification_strategy, r.created_at,
    r.updated_at, r.payload
from hookline_organization_domains r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)))
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and (r.proof_us, r.proof_event_id) < (p.content_us, p.content_event_id)
            and json_typeof(cast(p.payload as json) -> 'domains') = 'array'
            and not exists (
                select 1
                from json_array_elements(
                    case when json_typeof(cast(p.payload as json) -> 'domains') = 'array'
                        then cast(p.payload as json) -> 'domains' end
                ) listed (item)
                where json_typeof(listed.item) = 'object' and json_typeof(listed.item -> 'id') = 'string'
                    and listed.item ->> 'id' = r.id));
