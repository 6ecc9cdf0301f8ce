-- Content without an updated_at of its own is ordered by its event's clock alone, and kept apart from content that has
-- one. content_* and payload are those of the copy that counts, content_updated_us being -1 where it has none; rival is
-- the other, JSON [updated_us, created_us, event_id, payload], null for nearly every object.

alter table hookline_organizations add column rival text;
alter table hookline_directories add column rival text;
alter table hookline_directory_users add column rival text;
alter table hookline_directory_groups add column rival text;
alter table hookline_users add column rival text;
alter table hookline_organization_domains add column rival text;
alter table hookline_organization_memberships add column rival text;
alter table hookline_groups add column rival text;
alter table hookline_connections add column rival text;
alter table hookline_roles add column rival text;
alter table hookline_organization_roles add column rival text;
alter table hookline_permissions add column rival text;
alter table hookline_invitations add column rival text;
alter table hookline_sessions add column rival text;
