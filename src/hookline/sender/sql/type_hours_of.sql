-- How many events of each type were published in an environment since a time.
select event_type, sum(published)
from hookline_sender_type_hours
where environment = :environment and hour_ms >= :since_ms
group by event_type
