-- The mirror's other resources: the same clock columns, and views as in 002. An id that is made of several fields (roles
-- have none of their own) is those joined by slashes. Invitations and sessions stay empty unless the receiver is asked to
-- mirror them.

create table hookline_users (
    source text not null,
    id text not null,
    email text,
    email_verified integer,
    first_name text,
    last_name text,
    external_id text,
    locale text,
    last_sign_in_at text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);

create table hookline_organization_domains (
    source text not null,
    id text not null,
    organization_id text,
    domain text,
    state text,
    verification_strategy text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_organization_domains_organization on hookline_organization_domains (source, organization_id, id);

create table hookline_organization_memberships (
    source text not null,
    id text not null,
    user_id text,
    organization_id text,
    status text,
    is_active integer not null default 0,
    role_slug text,
    directory_managed integer,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_organization_memberships_user on hookline_organization_memberships (source, user_id, id);
create index hookline_organization_memberships_organization on hookline_organization_memberships (source, organization_id, id);

create table hookline_groups (
    source text not null,
    id text not null,
    organization_id text,
    name text,
    description text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_groups_organization on hookline_groups (source, organization_id, id);

create table hookline_connections (
    source text not null,
    id text not null,
    organization_id text,
    connection_type text,
    name text,
    state text,
    is_active integer not null default 0,
    external_key text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_connections_organization on hookline_connections (source, organization_id, id);

create table hookline_roles (
    source text not null,
    id text not null,
    slug text,
    resource_type_slug text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);

create table hookline_organization_roles (
    source text not null,
    id text not null,
    organization_id text,
    slug text,
    resource_type_slug text,
    name text,
    description text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_organization_roles_organization on hookline_organization_roles (source, organization_id, id);

create table hookline_permissions (
    source text not null,
    id text not null,
    slug text,
    name text,
    description text,
    system integer,
    resource_type_slug text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);

create table hookline_invitations (
    source text not null,
    id text not null,
    organization_id text,
    email text,
    state text,
    inviter_user_id text,
    accepted_user_id text,
    role_slug text,
    accepted_at text,
    revoked_at text,
    expires_at text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_invitations_organization on hookline_invitations (source, organization_id, id);

create table hookline_sessions (
    source text not null,
    id text not null,
    user_id text,
    organization_id text,
    status text,
    auth_method text,
    ip_address text,
    user_agent text,
    expires_at text,
    ended_at text,
    created_at text,
    updated_at text,
    payload text,
    full_payload text,
    reduced_payload text,
    content_updated_us integer not null, content_us integer not null, content_event_id text not null,
    life_us integer not null, life_event_id text not null,
    death_us integer not null, death_event_id text not null,
    stub_us integer not null, stub_event_id text not null,
    reduced_updated_us integer not null, reduced_us integer not null, reduced_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    proof_us integer not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id) then stub_us else life_us end
    ) stored,
    proof_event_id text not null generated always as (
        case when death_us = -1 and (stub_us, stub_event_id) > (life_us, life_event_id)
            then stub_event_id else life_event_id end
    ) stored,
    primary key (source, id)
);
create index hookline_sessions_user on hookline_sessions (source, user_id, id);
create index hookline_sessions_organization on hookline_sessions (source, organization_id, id);

create table hookline_group_members (
    source text not null,
    group_id text not null,
    organization_membership_id text not null,
    add_us integer not null, add_event_id text not null,
    remove_us integer not null, remove_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    primary key (source, group_id, organization_membership_id)
);
create index hookline_group_members_organization_membership
    on hookline_group_members (source, organization_membership_id, group_id);

create view hookline_users_live as
select
    r.source, r.id, r.email, r.email_verified, r.first_name, r.last_name, r.external_id, r.locale,
    r.last_sign_in_at, r.created_at, r.updated_at, r.payload
from hookline_users r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id);

-- A domain is also gone where its organization's payload lists its domains without it, and nothing newer speaks for it.
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
            and json_type(p.payload, '$.domains') = 'array'
            and not exists (
                select 1 from json_each(p.payload, '$.domains') listed
                where case when listed.type = 'object' then json_extract(listed.value, '$.id') end = r.id));

-- A user has one membership of an organization at a time: proof of a later one ends the earlier, whose deletion may be
-- still under way.
create view hookline_organization_memberships_live as
select
    r.source, r.id, r.user_id, r.organization_id, r.status, r.is_active, r.role_slug,
    r.directory_managed, r.created_at, r.updated_at, r.payload
from hookline_organization_memberships r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_users p
        where p.source = r.source and p.id = r.user_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)))
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)))
    and not exists (
        select 1 from hookline_organization_memberships later
        where later.source = r.source and later.user_id = r.user_id and later.organization_id = r.organization_id
            and later.id <> r.id and (later.proof_us, later.proof_event_id) > (r.proof_us, r.proof_event_id));

create view hookline_groups_live as
select
    r.source, r.id, r.organization_id, r.name, r.description, r.created_at, r.updated_at, r.payload
from hookline_groups r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)));

create view hookline_connections_live as
select
    r.source, r.id, r.organization_id, r.connection_type, r.name, r.state, r.is_active,
    r.external_key, r.created_at, r.updated_at, r.payload
from hookline_connections r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)));

create view hookline_roles_live as
select
    r.source, r.id, r.slug, r.resource_type_slug, r.created_at, r.updated_at, r.payload
from hookline_roles r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id);

create view hookline_organization_roles_live as
select
    r.source, r.id, r.organization_id, r.slug, r.resource_type_slug, r.name, r.description,
    r.created_at, r.updated_at, r.payload
from hookline_organization_roles r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)));

create view hookline_permissions_live as
select
    r.source, r.id, r.slug, r.name, r.description, r.system, r.resource_type_slug, r.created_at,
    r.updated_at, r.payload
from hookline_permissions r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id);

create view hookline_invitations_live as
select
    r.source, r.id, r.organization_id, r.email, r.state, r.inviter_user_id, r.accepted_user_id,
    r.role_slug, r.accepted_at, r.revoked_at, r.expires_at, r.created_at, r.updated_at, r.payload
from hookline_invitations r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)));

create view hookline_sessions_live as
select
    r.source, r.id, r.user_id, r.organization_id, r.status, r.auth_method, r.ip_address,
    r.user_agent, r.expires_at, r.ended_at, r.created_at, r.updated_at, r.payload
from hookline_sessions r
where (r.proof_us, r.proof_event_id) > (r.death_us, r.death_event_id)
    and not exists (
        select 1 from hookline_users p
        where p.source = r.source and p.id = r.user_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)))
    and not exists (
        select 1 from hookline_organizations p
        where p.source = r.source and p.id = r.organization_id
            and ((p.proof_us, p.proof_event_id) <= (p.death_us, p.death_event_id)
                or (r.proof_us, r.proof_event_id) <= (p.death_us, p.death_event_id)));

create view hookline_group_members_live as
select
    m.source, m.group_id, m.organization_membership_id
from hookline_group_members m
where (m.add_us, m.add_event_id) > (m.remove_us, m.remove_event_id)
    and not exists (
        select 1 from hookline_groups e
        left join hookline_organizations p0 on p0.source = e.source and p0.id = e.organization_id
        where e.source = m.source and e.id = m.group_id
            and ((e.proof_us, e.proof_event_id) <= (e.death_us, e.death_event_id)
                or (m.add_us, m.add_event_id) <= (e.death_us, e.death_event_id)
                or (p0.proof_us, p0.proof_event_id) <= (p0.death_us, p0.death_event_id)
                or (e.proof_us, e.proof_event_id) <= (p0.death_us, p0.death_event_id)
                or (m.add_us, m.add_event_id) <= (p0.death_us, p0.death_event_id)))
    and not exists (
        select 1 from hookline_organization_memberships e
        left join hookline_users p0 on p0.source = e.source and p0.id = e.user_id
        left join hookline_organizations p1 on p1.source = e.source and p1.id = e.organization_id
        where e.source = m.source and e.id = m.organization_membership_id
            and ((e.proof_us, e.proof_event_id) <= (e.death_us, e.death_event_id)
                or (m.add_us, m.add_event_id) <= (e.death_us, e.death_event_id)
                or (p0.proof_us, p0.proof_event_id) <= (p0.death_us, p0.death_event_id)
                or (e.proof_us, e.proof_event_id) <= (p0.death_us, p0.death_event_id)
                or (m.add_us, m.add_event_id) <= (p0.death_us, p0.death_event_id)
                or (p1.proof_us, p1.proof_event_id) <= (p1.death_us, p1.death_event_id)
                or (e.proof_us, e.proof_event_id) <= (p1.death_us, p1.death_event_id)
                or (m.add_us, m.add_event_id) <= (p1.death_us, p1.death_event_id)));
