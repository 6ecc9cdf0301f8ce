-- What the sender holds of a directory: organizations and their domains, directories, users, groups, memberships. A write
-- here and the events that tell of it are one commit.
--   updated_ms  what the object says of itself
--   event_ms    created_at of the object's latest event: the next one is later, whatever the clock says
--   sequence    counts the object's events, from 1
-- Ids are never given twice. What hangs on something deleted is gone with it at once, whoever removes the rows later:
-- every read looks at what is above. A deleted organization's domains go, and its directories are deleted, in the same
-- commit; so a user or a group is there while its directory is not deleted, and a membership while both its ends are.

create table hookline_sender_organizations (
    id text primary key,
    environment text not null,
    name text not null,
    external_id text,
    metadata text not null,
    created_ms integer not null,
    updated_ms integer not null,
    event_ms integer not null,
    sequence integer not null,
    deleted_ms integer
);
create index hookline_sender_organizations_listed on hookline_sender_organizations (environment, created_ms, id)
    where deleted_ms is null;
create unique index hookline_sender_organizations_external on hookline_sender_organizations (environment, external_id)
    where deleted_ms is null and external_id is not null;

-- domain is in lower case, and one organization's alone.
create table hookline_sender_organization_domains (
    id text primary key,
    environment text not null,
    organization_id text not null,
    domain text not null,
    state text not null,
    verification_strategy text,
    verification_prefix text,
    verification_token text,
    created_ms integer not null,
    updated_ms integer not null,
    event_ms integer not null,
    sequence integer not null
);
create unique index hookline_sender_organization_domains_taken
    on hookline_sender_organization_domains (environment, domain);
create index hookline_sender_organization_domains_of
    on hookline_sender_organization_domains (organization_id, created_ms, id);

-- state is the Directory API's word (linked, unlinked, validating, invalid_credentials, deleting). inactive_flow: secure
-- deletes a user who turns inactive, custom keeps him.
create table hookline_sender_directories (
    id text primary key,
    environment text not null,
    organization_id text,
    name text not null,
    type text not null,
    state text not null,
    domain text,
    external_key text not null,
    inactive_flow text not null,
    created_ms integer not null,
    updated_ms integer not null,
    event_ms integer not null,
    sequence integer not null,
    deleted_ms integer
);
create index hookline_sender_directories_listed on hookline_sender_directories (environment, created_ms, id)
    where deleted_ms is null;
create index hookline_sender_directories_organization on hookline_sender_directories (organization_id, created_ms, id)
    where deleted_ms is null;

-- fields is JSON: what an object says besides the columns (first_name, last_name, job_title, custom_attributes, role, …).
create table hookline_sender_directory_users (
    id text primary key,
    environment text not null,
    directory_id text not null,
    idp_id text not null,
    email text,
    state text not null,
    fields text not null,
    created_ms integer not null,
    updated_ms integer not null,
    event_ms integer not null,
    sequence integer not null
);
create index hookline_sender_directory_users_listed on hookline_sender_directory_users (directory_id, created_ms, id);
create unique index hookline_sender_directory_users_idp on hookline_sender_directory_users (directory_id, idp_id);
create index hookline_sender_directory_users_email
    on hookline_sender_directory_users (directory_id, email, created_ms, id);

create table hookline_sender_directory_groups (
    id text primary key,
    environment text not null,
    directory_id text not null,
    idp_id text not null,
    name text not null,
    created_ms integer not null,
    updated_ms integer not null,
    event_ms integer not null,
    sequence integer not null
);
create index hookline_sender_directory_groups_listed on hookline_sender_directory_groups (directory_id, created_ms, id);
create unique index hookline_sender_directory_groups_idp on hookline_sender_directory_groups (directory_id, idp_id);

-- A pair that has ended is kept (is_member 0) while both its ends are there: its next event is later than its last.
create table hookline_sender_memberships (
    group_id text not null,
    user_id text not null,
    directory_id text not null,
    is_member integer not null,
    event_ms integer not null,
    sequence integer not null,
    primary key (group_id, user_id)
);
create index hookline_sender_memberships_user on hookline_sender_memberships (user_id, group_id);

-- Of events that tell of one of these: which of its object's it is. Sent as a header.
alter table hookline_sender_events add column object_sequence integer;

-- Which organizations events are of: whether a filter names one that exists (protocol reference, §4.1).
create index hookline_sender_events_organization on hookline_sender_events (environment, organization_id)
    where organization_id is not null;
