-- Sets the floor of a scope; one that is later already stays.
insert into hookline_floors (source, resource, scope_id, floor_us)
values (:source, :resource, :scope_id, :floor_us)
on conflict (source, resource, scope_id) do update set floor_us = excluded.floor_us
where hookline_floors.floor_us < excluded.floor_us
