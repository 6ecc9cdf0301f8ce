-- What pages look at: how many webhooks came in each minute, and by which index the few are found among the many.

-- What the doors kept, and met again, by minute and source. kind: accepted, duplicate, conflict, known. Written together,
-- about once a second, and never for one request alone; what a process had not written when it was killed is not in it.
create table hookline_inbox_minutes (
    minute_ms integer not null,
    source text not null,
    kind text not null,
    times integer not null,
    primary key (minute_ms, source, kind)
);

create index hookline_rejections_minute on hookline_rejections (minute_ms);

-- The outcomes that are rare and asked for; the dead have an index already.
create index hookline_inbox_outcomes_rare on hookline_inbox_outcomes (outcome, seq)
    where outcome = 'stale' or outcome = 'ignored';

-- Rows with something odd about them: hardly any, so that the index costs what is ordinary nothing.
create index hookline_organizations_flagged on hookline_organizations (source, id) where flags <> '';
create index hookline_directories_flagged on hookline_directories (source, id) where flags <> '';
create index hookline_directory_users_flagged on hookline_directory_users (source, id) where flags <> '';
create index hookline_directory_groups_flagged on hookline_directory_groups (source, id) where flags <> '';
create index hookline_directory_memberships_flagged on hookline_directory_memberships (source, group_id, user_id) where flags <> '';
create index hookline_users_flagged on hookline_users (source, id) where flags <> '';
create index hookline_organization_domains_flagged on hookline_organization_domains (source, id) where flags <> '';
create index hookline_organization_memberships_flagged on hookline_organization_memberships (source, id) where flags <> '';
create index hookline_groups_flagged on hookline_groups (source, id) where flags <> '';
create index hookline_connections_flagged on hookline_connections (source, id) where flags <> '';
create index hookline_roles_flagged on hookline_roles (source, id) where flags <> '';
create index hookline_organization_roles_flagged on hookline_organization_roles (source, id) where flags <> '';
create index hookline_permissions_flagged on hookline_permissions (source, id) where flags <> '';
create index hookline_invitations_flagged on hookline_invitations (source, id) where flags <> '';
create index hookline_sessions_flagged on hookline_sessions (source, id) where flags <> '';
create index hookline_group_members_flagged on hookline_group_members (source, group_id, organization_membership_id) where flags <> '';
