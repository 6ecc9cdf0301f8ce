-- Tells when the oldest event of an environment was published that still has its body.
select min(published_ms) from hookline_sender_events where environment = :environment and pruned_ms is null
