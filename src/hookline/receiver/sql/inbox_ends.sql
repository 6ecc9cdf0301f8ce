-- The numbers of the oldest and the newest entry; null where there is none.
select (select min(i.seq) from hookline_inbox i), (select max(i.seq) from hookline_inbox i)
