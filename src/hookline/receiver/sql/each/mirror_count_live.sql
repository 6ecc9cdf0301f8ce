-- How many of a scope are shown.
select count(*) from {table}_live m where m.source = :source{scope}
