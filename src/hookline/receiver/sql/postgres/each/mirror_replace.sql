-- Replaces the named columns of rows that were read in this transaction: none is new, and an index over others is left alone.
insert into {table} ({columns})
select * from unnest /*columns*/ ({arrays})
on conflict ({key}) do update set {replaced}
