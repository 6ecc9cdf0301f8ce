-- A handler's failures no longer come in a row.
delete from hookline_failing where handler = :handler
