-- The passes of a source that ended before the newest so many.
select row_id from hookline_passes
where source = :source and state <> 'running'
    and row_id not in (select row_id from hookline_passes where source = :source order by row_id desc limit :kept)
