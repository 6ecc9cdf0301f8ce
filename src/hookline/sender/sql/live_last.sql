-- Reads the last place of the feed.
select max(seq) from hookline_sender_feed
