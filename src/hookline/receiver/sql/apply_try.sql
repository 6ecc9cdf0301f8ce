-- Counts one more try of one entry on its own, and lets nobody else try it before that one has ended or its process has
-- died; nothing comes back if it is no longer waiting, or somebody tries it now.
update hookline_inbox_queue set attempt = attempt + 1, due_ms = :leased_until_ms
where seq = :seq and due_ms <= :now_ms
returning attempt
