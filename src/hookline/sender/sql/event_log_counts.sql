-- How many deliveries of each state some events have; pending ones that were tried count as `again`.
select d.event_row,
    case
        when d.state in ('pending', 'running') then
            case when d.attempt > 1 or (d.attempt = 1 and d.state = 'pending') then 'again' else 'pending' end
        else d.state
    end,
    count(*)
from hookline_sender_deliveries d
where d.event_row in (select cast(value as bigint) from json_each(:event_rows))
group by 1, 2
