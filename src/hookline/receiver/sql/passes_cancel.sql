-- Ends a pass that runs or stopped for good.
update hookline_passes set state = 'canceled', reason = :reason, updated_ms = :now_ms, finished_ms = :now_ms
where row_id = :row_id and state in ('running', 'stopped')
