-- What a fact's run is about.
select source, event_id, body from hookline_inbox where seq = :seq
