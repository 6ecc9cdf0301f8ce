-- On how many different objects a handler has failed since a moment, without a success in between.
select count(*) from hookline_failing where handler = :handler and failed_ms >= :since_ms
