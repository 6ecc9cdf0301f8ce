-- What a fact's run is about; the body null once it is not whole any more.
select source, event_id, type, case when redacted = 'people' then null else body end from hookline_inbox where seq = :seq
