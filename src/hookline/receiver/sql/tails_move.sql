-- Moves the place in a feed behind what this transaction keeps, and says that reading goes well.
update hookline_tails set cursor = :cursor, cursor_us = :cursor_us, read = read + :read, kept = kept + :kept,
    late = late + :late, read_ms = :now_ms, failed_ms = null, error = null
where source = :source
