-- The next changes in order, of any source.
select seq, source, changed_ms from hookline_changes where seq > :after order by seq limit :limit
