-- Forgets the waiting events that have their place in the feed.
delete from hookline_sender_unfed
where exists (
    select 1 from hookline_sender_feed f where f.event_row = hookline_sender_unfed.event_row
)
