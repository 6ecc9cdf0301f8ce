-- How many rows there are of a resource, how many are alive, and how many in doubt, each up to :most.
select
    (select count(*) from (select 1 from {table} where source = :source limit :most) a),
    (select count(*) from (select 1 from {table}_live where source = :source limit :most) b),
    (select count(*) from (
        select 1 from {table} where source = :source and flags <> '' and flags like '%uncertain%' limit :most
    ) c)
