-- Writes down which numbers of objects' events are known. Who does has the objects' rows to itself.
insert into hookline_sequences (source, resource, object_id, highest, missing)
values /*rows*/ (:source, :resource, :object_id, :highest, :missing)
on conflict (source, resource, object_id) do update set highest = excluded.highest, missing = excluded.missing
