-- Forgets all that was to go to a listener once more.
delete from hookline_sender_listener_resends where listener_row = :listener_row
