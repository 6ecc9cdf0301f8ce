-- Those of these ids that any relation, past or present, is of.
select value from json_each(:ids)
where exists (select 1 from {table} m where m.source = :source and m.{end} = value)
