-- Forgets what was sent once more and is answered.
delete from hookline_sender_listener_resends where row_id in (select cast(value as bigint) from json_each(:rows))
