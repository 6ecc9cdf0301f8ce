-- Gives events their place in the feed, in the order given; the last write before the commit.
insert into hookline_sender_feed (environment, event_row)
values /*rows*/ (:environment, :event_row)
