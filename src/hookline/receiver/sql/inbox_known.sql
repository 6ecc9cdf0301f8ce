-- The hashes under which ids are known, to tell a repeat from a conflict.
select event_id, sha256 from hookline_inbox
where source = :source and event_id in (select value from json_each(:event_ids))
