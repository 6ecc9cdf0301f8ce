-- Reads the last place of the inbox.
select max(seq) from hookline_inbox
