-- The oldest walk that is not finished and that nobody else is on just now; nobody else is on it until the commit.
select row_id, source, resource, object_id, position, cause_seq, cause from hookline_cascades
order by row_id limit 1
for update skip locked
