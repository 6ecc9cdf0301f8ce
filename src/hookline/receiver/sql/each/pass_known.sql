-- When those of these objects that are shown were last changed.
select id, updated_at from {table}_live where source = :source and id in (select value from json_each(:ids))
