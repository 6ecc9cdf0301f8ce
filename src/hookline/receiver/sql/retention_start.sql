-- Makes every walk of a source due.
update hookline_retention set due_ms = :now_ms where source = :source
