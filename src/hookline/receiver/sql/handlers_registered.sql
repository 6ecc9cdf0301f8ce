-- Every handler of any process, where it starts, and which source it is for.
select name, kind, pattern, from_seq, source from hookline_handlers order by name
