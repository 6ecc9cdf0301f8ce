-- Forgets what was to be asked about an object, unless it has become of interest what it was like later.
delete from hookline_refetches
where source = :source and resource = :resource and object_id = :object_id and after_us <= :after_us
