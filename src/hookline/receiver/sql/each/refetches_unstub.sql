-- Forgets those questions that arose because an object was known from a relation alone, and now no longer is.
delete from hookline_refetches
where source = :source and resource = :resource and reasons = 'stub' and due_ms <= :now_ms
    and exists (
        select 1 from {table} o
        where o.source = hookline_refetches.source and o.id = hookline_refetches.object_id
            and (o.life_us <> -1 or o.death_us <> -1)
    )
