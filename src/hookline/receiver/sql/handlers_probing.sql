-- The probe of a paused handler is taken: the next one is due after twice as long as the last, an hour at most.
update hookline_handlers
set probe_ms = :now_ms + case when probes < 6 then 60000 * (1 << cast(probes + 1 as int)) else 3600000 end, probes = probes + 1
where paused_reason is not null and probe_ms <= :now_ms and name in (select value from json_each(:handlers))
