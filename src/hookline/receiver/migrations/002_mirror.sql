-- The mirror: a table per resource with the same clock columns, the change feed, handlers and their runs.
-- Clocks are pairs (event created_at in µs, event id), compared as pairs (rules/merge.py).
--   content_*  what the payload rests on: its updated_at, then the event's pair
--   life_*     the latest proof of life      death_*  the latest proof of its own death
--   stub_*     provisional life: known only as an embedded copy
-- deleted_at is the object's own death, RFC 3339, and null while it lives. announced_live is what handlers were told.

create table hookline_organizations (
    source text not null,
    id text not null,
    name text,
    external_id text,
    created_at text,
    updated_at text,
    payload text,
    content_updated_us integer, content_us integer, content_event_id text,
    life_us integer, life_event_id text,
    death_us integer, death_event_id text,
    stub_us integer, stub_event_id text,
    uncertain text,
    announced_live integer not null default 0,
    deleted_at text,
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
    content_updated_us integer, content_us integer, content_event_id text,
    life_us integer, life_event_id text,
    death_us integer, death_event_id text,
    stub_us integer, stub_event_id text,
    uncertain text,
    announced_live integer not null default 0,
    deleted_at text,
    primary key (source, id)
);
create index hookline_directories_organization on hookline_directories (source, organization_id);

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
    created_at text,
    updated_at text,
    payload text,
    content_updated_us integer, content_us integer, content_event_id text,
    life_us integer, life_event_id text,
    death_us integer, death_event_id text,
    stub_us integer, stub_event_id text,
    uncertain text,
    announced_live integer not null default 0,
    deleted_at text,
    primary key (source, id)
);
create index hookline_directory_users_directory on hookline_directory_users (source, directory_id);
create index hookline_directory_users_organization on hookline_directory_users (source, organization_id);

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
    content_updated_us integer, content_us integer, content_event_id text,
    life_us integer, life_event_id text,
    death_us integer, death_event_id text,
    stub_us integer, stub_event_id text,
    uncertain text,
    announced_live integer not null default 0,
    deleted_at text,
    primary key (source, id)
);
create index hookline_directory_groups_directory on hookline_directory_groups (source, directory_id);
create index hookline_directory_groups_organization on hookline_directory_groups (source, organization_id);

create table hookline_directory_memberships (
    source text not null,
    group_id text not null,
    user_id text not null,
    directory_id text,
    add_us integer, add_event_id text,
    remove_us integer, remove_event_id text,
    uncertain text,
    announced_live integer not null default 0,
    primary key (source, group_id, user_id)
);
create index hookline_directory_memberships_user on hookline_directory_memberships (source, user_id);
create index hookline_directory_memberships_directory on hookline_directory_memberships (source, directory_id);

-- Every accepted change, in the order of acceptance. kind: created, updated, deleted, recreated, hidden, shown, added, removed.
-- object_id of an edge is 'group_id/user_id'. before and after are JSON, null where there is none. cause is the event id.
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
    error text,
    created_ms integer not null,
    finished_ms integer
);
create unique index hookline_runs_change on hookline_runs (handler, change_seq) where change_seq is not null;
create unique index hookline_runs_entry on hookline_runs (handler, inbox_seq) where inbox_seq is not null;
create index hookline_runs_due on hookline_runs (handler, due_ms) where state = 'pending';
create index hookline_runs_leased on hookline_runs (leased_until_ms) where state = 'running';
create index hookline_runs_object on hookline_runs (handler, object_key, row_id) where state in ('pending', 'running');
