-- Which event's walk is on its way to an object's children; the newest where there are several.
select cause_seq, cause from hookline_cascades
where source = :source and resource = :resource and object_id = :object_id
order by row_id desc limit 1
