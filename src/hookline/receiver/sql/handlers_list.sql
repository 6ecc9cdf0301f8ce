-- Every handler, with its pause and how many of its runs wait, run and are dead.
select h.name, h.kind, h.pattern, h.source, h.paused_reason, h.probe_ms, h.registered_ms,
    (select count(*) from hookline_runs r where r.handler = h.name and r.state = 'pending'),
    (select count(*) from hookline_runs r where r.handler = h.name and r.state = 'running'),
    (select count(*) from hookline_runs r where r.handler = h.name and r.state = 'failed')
from hookline_handlers h
order by h.name
