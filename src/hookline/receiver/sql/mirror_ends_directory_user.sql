-- Those of these ids that any membership, past or present, is of.
select value from json_each(:ids)
where exists (
    select 1 from hookline_directory_memberships m where m.source = :source and m.user_id = value
)
