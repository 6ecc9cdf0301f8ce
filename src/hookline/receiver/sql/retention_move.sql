-- Notes how far a walk has come and when it goes on.
update hookline_retention set seq = :seq, due_ms = :due_ms where source = :source and walk = :walk
