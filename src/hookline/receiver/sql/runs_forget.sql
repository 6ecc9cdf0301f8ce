-- Gives up every run of a handler that still waits.
update hookline_runs set state = 'canceled', finished_ms = :now_ms where handler = :handler and state = 'pending'
