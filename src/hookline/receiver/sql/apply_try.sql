-- Counts one more try of one entry on its own; nothing comes back if it is no longer waiting.
update hookline_inbox_queue set attempt = attempt + 1 where seq = :seq returning attempt
