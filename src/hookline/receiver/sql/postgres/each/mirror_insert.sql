-- Adds whole rows; one that somebody else added meanwhile fails the statement, and the batch is rerun.
insert into {table} ({columns})
select * from unnest /*columns*/ ({arrays})
