-- Whether a relation holds: one row, or nothing.
select 1 from {table}_live where source = :source and {left} = :left and {right} = :right
