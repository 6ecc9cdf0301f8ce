-- The next changes that a replay's entries caused.
select c.seq
from hookline_changes c
join hookline_inbox i on i.seq = c.cause_seq
where i.source = :source and c.seq > :after and c.seq <= :last
    and (cast(:event_ids as text) is null or i.event_id in (select value from json_each(:event_ids)))
    and (cast(:type as text) is null or i.type = :type)
    and (cast(:prefix as text) is null or substr(i.type, 1, length(:prefix)) = :prefix)
    and i.seq >= :from_seq and i.seq <= :to_seq
    and (cast(:since_ms as integer) is null or i.received_ms >= :since_ms)
    and (cast(:until_ms as integer) is null or i.received_ms < :until_ms)
    and (cast(:object_id as text) is null or c.object_id = :object_id)
order by c.seq limit :limit
