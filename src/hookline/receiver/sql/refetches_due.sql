-- What is to be asked now of a source, longest due first.
select source, resource, object_id, reasons, told_by, after_us, noticed_ms, due_ms, tries, error, lower_us,
    lower_read_us
from hookline_refetches
where source = :source and due_ms <= :now_ms
order by due_ms, resource, object_id limit :limit
