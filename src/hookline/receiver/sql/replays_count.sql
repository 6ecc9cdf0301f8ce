-- How many entries a replay would take, those that wait to be applied anyway left out.
select count(*) from hookline_inbox i
where i.source = :source
    and (cast(:event_ids as text) is null or i.event_id in (select value from json_each(:event_ids)))
    and (cast(:type as text) is null or i.type = :type)
    and (cast(:prefix as text) is null or substr(i.type, 1, length(:prefix)) = :prefix)
    and i.seq >= :from_seq and i.seq <= :to_seq
    and (cast(:since_ms as integer) is null or i.received_ms >= :since_ms)
    and (cast(:until_ms as integer) is null or i.received_ms < :until_ms)
    and not exists (select 1 from hookline_inbox_queue q where q.seq = i.seq)
