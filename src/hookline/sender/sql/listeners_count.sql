-- Counts an environment's listeners.
select count(*) from hookline_sender_listeners where environment = :environment
