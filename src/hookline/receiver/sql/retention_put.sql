-- Makes a walk known where it is not yet; it begins at once.
insert into hookline_retention (source, walk, due_ms) values (:source, :walk, :now_ms)
on conflict (source, walk) do nothing
