-- Removes domains.
delete from hookline_sender_organization_domains where id in (select value from json_each(:ids))
