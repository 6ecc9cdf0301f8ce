-- Forgets a type of one's own; events of it are still taken, unchecked.
delete from hookline_sender_event_types
where environment = :environment and name = :name
