-- Marks events written on an app's own connection as waiting for their place in the feed.
insert into hookline_sender_unfed (event_row)
select * from unnest /*columns*/ (cast(:event_row as bigint[]))
