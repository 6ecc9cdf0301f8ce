-- The first entry from a place on, and when it arrived.
select i.seq, i.received_ms from hookline_inbox i where i.seq >= :seq order by i.seq limit 1
