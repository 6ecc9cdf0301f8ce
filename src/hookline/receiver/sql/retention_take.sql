-- Takes one due walk for this transaction; who comes second finds it put off.
update hookline_retention set due_ms = :later_ms
where source = :source and (due_ms <= :now_ms or due_ms > :latest_ms)
    and walk = (
        select w.walk from hookline_retention w
        where w.source = :source and (w.due_ms <= :now_ms or w.due_ms > :latest_ms)
        order by w.due_ms, w.walk limit 1
    )
returning walk, seq
