-- Takes the trials of half-open endpoints, each for one holder until its lease passes; gives those that were free.
-- A lease that lies further ahead than any lasts was taken before the clock was set back.
update hookline_sender_endpoints
set trial_until_ms = :until_ms
where row_id in (select cast(value as bigint) from json_each(:endpoint_rows))
    and is_half_open = 1
    and (trial_until_ms is null or trial_until_ms <= :now_ms or trial_until_ms > :until_ms)
returning row_id
