-- What ids are known as: number, hash and how it came, to tell what is new from repeats, and those from conflicts.
select event_id, seq, sha256, via from hookline_inbox
where source = :source and event_id in (select value from json_each(:event_ids))
