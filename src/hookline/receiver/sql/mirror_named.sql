-- The first organizations that living directories name, whether they are known or not.
select distinct d.organization_id from hookline_directories_live d
where d.source = :source and d.organization_id is not null
order by d.organization_id limit :limit
