-- The oldest walk that is not finished and does not wait after a failure; one that would wait too long was kept under another clock. First those that workers have taken up and not come back.
select row_id, source, resource, object_id, position, cause_seq, cause, tries, child, begun from hookline_cascades
where due_ms <= :now_ms or due_ms > :latest_ms
order by begun desc, row_id limit 1
