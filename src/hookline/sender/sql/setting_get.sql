-- Reads one setting.
select value from hookline_sender_settings where name = :name
