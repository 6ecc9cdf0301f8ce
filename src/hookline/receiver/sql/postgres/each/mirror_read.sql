-- The rows of these ids: parents, payloads, clocks, what was announced; nobody else changes them until the commit.
select id{parents}, payload, full_payload, reduced_payload, {clocks}, flags, announced_live
from {table}
where source = :source and id = any (array(select value from json_array_elements_text(cast(:ids as json)) w (value)))
order by id
for {lock}
