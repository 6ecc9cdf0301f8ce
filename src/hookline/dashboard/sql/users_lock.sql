-- Nothing on SQLite, where one writes at a time.
select 1
