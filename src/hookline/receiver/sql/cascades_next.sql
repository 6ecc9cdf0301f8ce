-- The oldest walk that is not finished.
select row_id, source, resource, object_id, position, cause_seq, cause from hookline_cascades
order by row_id limit 1
