-- The rows of these pairs, given as a JSON list of two-element lists; nobody else changes them until the commit.
select m.{one}, m.{other}, {scope}, m.add_us, m.add_event_id, m.remove_us, m.remove_event_id, m.flags, m.announced_live
from json_array_elements(cast(:pairs as json)) p (value)
join {table} m on m.source = :source and m.{one} = p.value ->> 0 and m.{other} = p.value ->> 1
order by m.{one}, m.{other}
for no key update of m
