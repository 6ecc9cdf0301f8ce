-- Says since when reading a feed fails, and why it did last.
update hookline_tails set failed_ms = coalesce(failed_ms, :now_ms), error = :error where source = :source
