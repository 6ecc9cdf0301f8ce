-- Those of these ids that any relation is of, past or present, whose scope is another than this one or not known.
select value from json_each(:ids)
where exists (
    select 1 from {table} m
    where m.source = :source and m.{end} = value and (m.{scope} is null or m.{scope} <> :scope_id)
)
