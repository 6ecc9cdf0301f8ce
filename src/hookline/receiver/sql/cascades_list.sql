-- The walks of one source that are not finished, those that fail first.
select resource, object_id, cause, created_ms, tries, due_ms, error, child from hookline_cascades
where source = :source
order by tries desc, row_id limit :limit
