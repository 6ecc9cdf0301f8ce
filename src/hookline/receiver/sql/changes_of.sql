-- The newest changes of one object up to a place and a moment, newest first.
select seq, kind, before, after, is_live, cause, cause_seq, changed_ms from hookline_changes
where source = :source and resource = :resource and object_id = :object_id
    and seq < :before_seq and changed_ms <= :until_ms
order by seq desc
limit :limit
