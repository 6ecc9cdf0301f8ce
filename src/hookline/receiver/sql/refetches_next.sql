-- When the next question is due to a source; null where there is none.
select min(due_ms) from hookline_refetches where source = :source
