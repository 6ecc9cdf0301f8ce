-- Handlers for which runs wait and that are not among the named ones.
select h.name from hookline_handlers h
where h.name not in (select value from json_each(:handlers))
    and exists (select 1 from hookline_runs r where r.handler = h.name and r.state = 'pending')
order by h.name
