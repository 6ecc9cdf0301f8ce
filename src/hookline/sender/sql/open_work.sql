-- Counts what runs and which replays are open, each count up to :most, by index alone.
select
    (
        select count(*) from (
            select 1 from hookline_sender_deliveries d where d.state = 'running' and d.leased_until_ms > 0 limit :most
        ) a
    ) as running,
    (
        select count(*) from (
            select 1 from hookline_sender_replays r where r.state = 'pending' limit :most
        ) b
    ) as replays
