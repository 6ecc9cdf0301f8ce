-- Forgets a handler: no more runs are made for it.
delete from hookline_handlers where name = :handler
