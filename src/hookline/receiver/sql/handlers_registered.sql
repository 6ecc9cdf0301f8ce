-- Every handler of any process, and where it starts.
select name, kind, pattern, from_seq from hookline_handlers order by name
