-- The rows of these ids: parents, payloads, clocks, what was announced.
select id{parents}, payload, full_payload, reduced_payload, {clocks}, flags, announced_live
from {table}
where source = :source and id in (select value from json_each(:ids))
{lock}
