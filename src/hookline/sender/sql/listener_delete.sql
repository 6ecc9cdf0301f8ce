-- Removes a listener; gives its row.
delete from hookline_sender_listeners where environment = :environment and name = :name returning row_id
