-- What a fact's run is about.
select source, body from hookline_inbox where seq = :seq
