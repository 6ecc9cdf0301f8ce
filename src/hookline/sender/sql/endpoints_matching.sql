-- Finds every endpoint that asks for one of the names, by index; names are [environment, event type, name or
-- pattern it may be asked for by]. An endpoint that asks twice (dsync.* and *) is found once. One that a person
-- disabled is not found; one that is paused or that we disabled is, with the reason to hold its deliveries.
select distinct
    json_extract(n.value, '$[0]'),
    json_extract(n.value, '$[1]'),
    p.row_id,
    case
        when p.paused_ms is not null then 'endpoint_paused'
        when p.status = 'disabled' then 'endpoint_' || p.disabled_reason
    end
from json_each(:names) n
-- Cross joins keep this order: from the few names to who asks for them, never over all endpoints.
cross join hookline_sender_subscriptions s
cross join hookline_sender_endpoints p
where s.event_type = json_extract(n.value, '$[2]')
    and p.row_id = s.endpoint_row
    and p.environment = json_extract(n.value, '$[0]')
    and p.deleted_ms is null
    and (p.status = 'enabled' or p.disabled_reason <> 'by_person')
