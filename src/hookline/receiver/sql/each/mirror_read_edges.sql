-- The rows of these pairs, given as a JSON list of two-element lists.
select m.{one}, m.{other}, {scope}, m.add_us, m.add_event_id, m.remove_us, m.remove_event_id, m.flags, m.announced_live
from json_each(:pairs) p
-- Keeps this order: from the few pairs to their rows, never over all that there are.
cross join {table} m
where m.source = :source
    and m.{one} = json_extract(p.value, '$[0]')
    and m.{other} = json_extract(p.value, '$[1]')
{lock}
