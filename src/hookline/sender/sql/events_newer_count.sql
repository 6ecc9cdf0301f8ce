-- How many events of an environment came after a row, up to a bound.
select count(*) from (
    select 1 from hookline_sender_events where environment = :environment and row_id > :row limit :most
) n
