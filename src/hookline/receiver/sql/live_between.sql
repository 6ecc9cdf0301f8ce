-- Counts the entries after one place and up to another, at most so many.
select count(*) from (select 1 from hookline_inbox where seq > :after and seq <= :last limit :most) passed
