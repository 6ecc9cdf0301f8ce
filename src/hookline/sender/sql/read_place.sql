-- Finds when an object of a kind was created, deleted or not, as long as its row is kept.
select created_ms from hookline_sender_organizations
where cast(:kind as text) = 'organization' and environment = :environment and id = :id
union all
select created_ms from hookline_sender_directories
where cast(:kind as text) = 'directory' and environment = :environment and id = :id
union all
select created_ms from hookline_sender_directory_users
where cast(:kind as text) = 'directory_user' and environment = :environment and id = :id
union all
select created_ms from hookline_sender_directory_groups
where cast(:kind as text) = 'directory_group' and environment = :environment and id = :id
