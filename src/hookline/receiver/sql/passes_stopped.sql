-- The passes of a source that stopped and read what a new one will read.
select row_id from hookline_passes
where source = :source and state = 'stopped' and row_id <> :row_id
    and (cast(:directory_id as text) is null or directory_id = :directory_id)
