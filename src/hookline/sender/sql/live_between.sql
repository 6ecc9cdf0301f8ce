-- Counts the events of the feed after one place and up to another, at most so many.
select count(*) from (
    select 1 from hookline_sender_feed where seq > :after and seq <= :last limit :most
) passed
