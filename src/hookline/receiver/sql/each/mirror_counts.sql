-- How many rows there are of a resource, how many are alive, and how many in doubt.
select
    (select count(*) from {table} where source = :source),
    (select count(*) from {table}_live where source = :source),
    (select count(*) from {table} where source = :source and flags like '%uncertain%')
