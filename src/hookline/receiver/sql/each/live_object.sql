-- One object as it is shown; nothing where it is not alive or unknown.
select payload from {table}_live where source = :source and id = :id
