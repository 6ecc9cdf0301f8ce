-- The mirror: a table per resource with the same clock columns, the change feed, handlers and their runs.
-- Clocks are pairs (event created_at in µs, event id), compared as pairs; (-1, '') stands for never, so that SQL and
-- rules/merge.py compare the same values the same way.
--   content_*  what the full payload rests on: its updated_at, then the event's pair
--   life_*     the latest proof of life      death_*  the latest proof of its own death
--   stub_*     provisional life: an embedded copy, which counts only while no death is known
--   proof_*    what it lives by: life, or the stub where that is later and no death is known
--   reduced_*  the same as content_* for what a newer deletion said (it may lack fields)
-- payload is the object as it is to be shown, JSON. Only where a deletion's copy is laid over it are its two layers kept
-- beside it, in full_payload and reduced_payload.
-- deleted_at is the object's own death, RFC 3339, and null while it lives. announced_live is what handlers were told.
-- flags are the odd things met (uncertain, clamped, weak, clock_regression), space separated.

create table hookline_organizations (
    source text not null,
    id text not null,
    name text,
    external_id text,
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

create table hookline_directories (
    source text not null,
    id text not null,
    organization_id text,
    name text,
    type text,
    state text,
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
create index hookline_directories_organization on hookline_directories (source, organization_id, id);

create table hookline_directory_users (
    source text not null,
    id text not null,
    directory_id text,
    organization_id text,
    idp_id text,
    email text,
    first_name text,
    last_name text,
    username text,
    job_title text,
    state text,
    is_active integer not null default 0,
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
create index hookline_directory_users_directory on hookline_directory_users (source, directory_id, id);
create index hookline_directory_users_organization on hookline_directory_users (source, organization_id, id);

create table hookline_directory_groups (
    source text not null,
    id text not null,
    directory_id text,
    organization_id text,
    idp_id text,
    name text,
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
create index hookline_directory_groups_directory on hookline_directory_groups (source, directory_id, id);
create index hookline_directory_groups_organization on hookline_directory_groups (source, organization_id, id);

create table hookline_directory_memberships (
    source text not null,
    group_id text not null,
    user_id text not null,
    directory_id text,
    add_us integer not null, add_event_id text not null,
    remove_us integer not null, remove_event_id text not null,
    flags text not null default '',
    announced_live integer not null default 0,
    deleted_at text,
    primary key (source, group_id, user_id)
);
create index hookline_directory_memberships_user on hookline_directory_memberships (source, user_id, group_id);
create index hookline_directory_memberships_directory
    on hookline_directory_memberships (source, directory_id, group_id, user_id);

-- What is alive and whose parents are, as rules/merge.py `is_alive` and `is_edge_alive` say (a test holds them together):
-- proof of life later than the own death and every known ancestor's, and no known ancestor dead. Ties are dead.

create view hookline_organizations_live as
select
    o.source, o.id, o.name, o.external_id, o.created_at, o.updated_at, o.payload
from hookline_organizations o
where (o.proof_us, o.proof_event_id) > (o.death_us, o.death_event_id);

create view hookline_directories_live as
select
    d.source, d.id, d.organization_id, d.name, d.type, d.state, d.external_key, d.created_at,
    d.updated_at, d.payload
from hookline_directories d
where (d.proof_us, d.proof_event_id) > (d.death_us, d.death_event_id)
    and not exists (
        select 1 from hookline_organizations o
        where o.source = d.source and o.id = d.organization_id
            and ((o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (d.proof_us, d.proof_event_id) <= (o.death_us, o.death_event_id)));

create view hookline_directory_users_live as
select
    u.source, u.id, u.directory_id, u.organization_id, u.idp_id, u.email, u.first_name, u.last_name,
    u.username, u.job_title, u.state, u.is_active, u.created_at, u.updated_at, u.payload
from hookline_directory_users u
where (u.proof_us, u.proof_event_id) > (u.death_us, u.death_event_id)
    and not exists (
        select 1 from hookline_organizations o
        where o.source = u.source and o.id = u.organization_id
            and ((o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (u.proof_us, u.proof_event_id) <= (o.death_us, o.death_event_id)))
    and not exists (
        select 1 from hookline_directories d
        left join hookline_organizations o on o.source = d.source and o.id = d.organization_id
        where d.source = u.source and d.id = u.directory_id
            and ((d.proof_us, d.proof_event_id) <= (d.death_us, d.death_event_id) or (u.proof_us, u.proof_event_id) <= (d.death_us, d.death_event_id)
                or (o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (d.proof_us, d.proof_event_id) <= (o.death_us, o.death_event_id)
                or (u.proof_us, u.proof_event_id) <= (o.death_us, o.death_event_id)));

create view hookline_directory_groups_live as
select
    g.source, g.id, g.directory_id, g.organization_id, g.idp_id, g.name, g.created_at, g.updated_at,
    g.payload
from hookline_directory_groups g
where (g.proof_us, g.proof_event_id) > (g.death_us, g.death_event_id)
    and not exists (
        select 1 from hookline_organizations o
        where o.source = g.source and o.id = g.organization_id
            and ((o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (g.proof_us, g.proof_event_id) <= (o.death_us, o.death_event_id)))
    and not exists (
        select 1 from hookline_directories d
        left join hookline_organizations o on o.source = d.source and o.id = d.organization_id
        where d.source = g.source and d.id = g.directory_id
            and ((d.proof_us, d.proof_event_id) <= (d.death_us, d.death_event_id) or (g.proof_us, g.proof_event_id) <= (d.death_us, d.death_event_id)
                or (o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (d.proof_us, d.proof_event_id) <= (o.death_us, o.death_event_id)
                or (g.proof_us, g.proof_event_id) <= (o.death_us, o.death_event_id)));

create view hookline_directory_memberships_live as
select
    m.source, m.group_id, m.user_id, m.directory_id
from hookline_directory_memberships m
where (m.add_us, m.add_event_id) > (m.remove_us, m.remove_event_id)
    and not exists (
        select 1 from hookline_directories d
        left join hookline_organizations o on o.source = d.source and o.id = d.organization_id
        where d.source = m.source and d.id = m.directory_id
            and ((d.proof_us, d.proof_event_id) <= (d.death_us, d.death_event_id) or (m.add_us, m.add_event_id) <= (d.death_us, d.death_event_id)
                or (o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (d.proof_us, d.proof_event_id) <= (o.death_us, o.death_event_id)
                or (m.add_us, m.add_event_id) <= (o.death_us, o.death_event_id)))
    and not exists (
        select 1 from hookline_directory_users e
        left join hookline_organizations eo on eo.source = e.source and eo.id = e.organization_id
        left join hookline_directories d on d.source = e.source and d.id = e.directory_id
        left join hookline_organizations o on o.source = d.source and o.id = d.organization_id
        where e.source = m.source and e.id = m.user_id
            and ((e.proof_us, e.proof_event_id) <= (e.death_us, e.death_event_id) or (m.add_us, m.add_event_id) <= (e.death_us, e.death_event_id)
                or (eo.proof_us, eo.proof_event_id) <= (eo.death_us, eo.death_event_id) or (e.proof_us, e.proof_event_id) <= (eo.death_us, eo.death_event_id)
                or (m.add_us, m.add_event_id) <= (eo.death_us, eo.death_event_id)
                or (d.proof_us, d.proof_event_id) <= (d.death_us, d.death_event_id) or (e.proof_us, e.proof_event_id) <= (d.death_us, d.death_event_id)
                or (m.add_us, m.add_event_id) <= (d.death_us, d.death_event_id)
                or (o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (d.proof_us, d.proof_event_id) <= (o.death_us, o.death_event_id)
                or (e.proof_us, e.proof_event_id) <= (o.death_us, o.death_event_id) or (m.add_us, m.add_event_id) <= (o.death_us, o.death_event_id)))
    and not exists (
        select 1 from hookline_directory_groups e
        left join hookline_organizations eo on eo.source = e.source and eo.id = e.organization_id
        left join hookline_directories d on d.source = e.source and d.id = e.directory_id
        left join hookline_organizations o on o.source = d.source and o.id = d.organization_id
        where e.source = m.source and e.id = m.group_id
            and ((e.proof_us, e.proof_event_id) <= (e.death_us, e.death_event_id) or (m.add_us, m.add_event_id) <= (e.death_us, e.death_event_id)
                or (eo.proof_us, eo.proof_event_id) <= (eo.death_us, eo.death_event_id) or (e.proof_us, e.proof_event_id) <= (eo.death_us, eo.death_event_id)
                or (m.add_us, m.add_event_id) <= (eo.death_us, eo.death_event_id)
                or (d.proof_us, d.proof_event_id) <= (d.death_us, d.death_event_id) or (e.proof_us, e.proof_event_id) <= (d.death_us, d.death_event_id)
                or (m.add_us, m.add_event_id) <= (d.death_us, d.death_event_id)
                or (o.proof_us, o.proof_event_id) <= (o.death_us, o.death_event_id) or (d.proof_us, d.proof_event_id) <= (o.death_us, o.death_event_id)
                or (e.proof_us, e.proof_event_id) <= (o.death_us, o.death_event_id) or (m.add_us, m.add_event_id) <= (o.death_us, o.death_event_id)));

-- Every accepted change, in the order of acceptance. kind: created, updated, deleted, recreated, hidden, shown, added, removed.
-- object_id of a membership is 'group_id/user_id'. before and after are the object as it was and is shown, JSON, null where it
-- was not or is not. cause_seq and cause are the inbox entry and the event that caused it.
create table hookline_changes (
    seq integer primary key autoincrement,
    source text not null,
    resource text not null,
    object_id text not null,
    kind text not null,
    is_live integer not null,
    before text,
    after text,
    cause_seq integer,
    cause text,
    changed_ms integer not null
);
create index hookline_changes_object on hookline_changes (source, resource, object_id, seq);

-- A parent died or returned: its children are walked in batches, position is where the walk stands.
create table hookline_cascades (
    row_id integer primary key autoincrement,
    source text not null,
    resource text not null,
    object_id text not null,
    position text not null default '',
    cause_seq integer,
    cause text,
    created_ms integer not null
);
create index hookline_cascades_object on hookline_cascades (source, resource, object_id, row_id);

-- Workers register their handlers at start; a new one starts at now (from_seq).
create table hookline_handlers (
    name text primary key,
    kind text not null,
    pattern text not null,
    from_seq integer not null,
    registered_ms integer not null,
    paused_reason text
);

-- One row per (handler, entry) or (handler, change). object_key orders the runs of on_change handlers; facts have none.
-- attempt never names two attempts of one run; those before a retry by hand, or given back, are uncounted as tries.
create table hookline_runs (
    row_id integer primary key autoincrement,
    handler text not null,
    object_key text,
    inbox_seq integer,
    change_seq integer,
    state text not null,
    due_ms integer not null,
    leased_until_ms integer,
    attempt integer not null default 0,
    uncounted integer not null default 0,
    error text,
    created_ms integer not null,
    finished_ms integer
);
create unique index hookline_runs_change on hookline_runs (handler, change_seq) where change_seq is not null;
create unique index hookline_runs_entry on hookline_runs (handler, inbox_seq) where inbox_seq is not null;
create index hookline_runs_due on hookline_runs (handler, due_ms) where state = 'pending';
create index hookline_runs_leased on hookline_runs (leased_until_ms) where state = 'running';
create index hookline_runs_object on hookline_runs (handler, object_key, row_id) where state in ('pending', 'running');
