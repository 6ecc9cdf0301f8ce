-- One change.
select seq, kind, resource, object_id, before, after, is_live, cause, source from hookline_changes where seq = :seq
